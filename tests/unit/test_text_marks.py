"""What a mail says to conditions on its text: words anywhere, words of a header field, and what cannot be told."""

import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

from archive_service.model.mail import CaptureRecord, SourceKind
from archive_service.model.schedule import Rule
from ingest.extraction import extract_text
from ingest.interpret import interpret
from ingest.parser_pool import ParserPool
from ingest.text_marks import marks_of

RECORD = CaptureRecord(
    capture="c", source="s", received_at="2026-03-01T00:00:00.000000Z", mail_from="", rcpt_to=("b@ex.fr",)
)


def made() -> bytes:
    message = EmailMessage()
    message["From"], message["Message-ID"] = "a@ex.fr", "<1@ex.fr>"
    message["Subject"] = "Réunion de chantier"
    message["X-Dept"] = "Achats généraux"
    message["X-Dept"] = "deuxième"
    message.set_content("Le corps parle d'un avenant.")
    message.add_attachment(b"contenu: caution bancaire", "text", "plain", filename="devis-été.txt")
    return message.as_bytes()


def condition(**more):
    ((found,),) = Rule(**{"id": "r", "class": "k"} | more).texts()
    return found


def said(raw, conditions, limit=10_000):
    parsed = interpret(raw, SourceKind.GENERIC, RECORD)
    return marks_of(raw, parsed, extract_text(raw, parsed, limit=limit), conditions)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("chantier", True),
        ("AVENANT corps", True),
        ("bancaire", True),
        ("devis ete", True),
        ("reunion avenant caution", True),
        ("avenant absent", False),
        ("avenan", False),
        ("achats", False),
    ],
)
def test_words_are_looked_for_in_subject_body_attachments_and_file_names(text, holds):
    assert said(made(), [condition(words=[text])]) == [holds]


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("X-Dept: achats", True),
        ("x-dept:GENERAUX achats", True),
        ("X-Dept", True),
        ("X-Dept: achats deuxieme", False),
        ("X-Other", False),
        ("Subject: chantier", True),
    ],
)
def test_header_fields_are_read_one_by_one_decoded_and_folded(text, holds):
    assert said(made(), [condition(headers=[text])]) == [holds]


def test_what_was_not_read_to_its_end_is_not_known_to_lack_a_word():
    asked = [condition(words=["chantier"]), condition(words=["bancaire"]), condition(headers=["X-Other"])]
    assert said(made(), asked, limit=10) == [True, None, False]


def test_the_cage_says_the_same_and_what_breaks_it_is_not_told():
    asked = [condition(words=["avenant"]), condition(words=["rien"]), condition(headers=["X-Dept: achats"])]
    parsed = interpret(made(), SourceKind.GENERIC, RECORD)
    with ParserPool(1) as pool:
        assert pool.marks(made(), parsed, asked) == [True, False, True]
    poison = (sys.executable, "-P", str(Path(__file__).with_name("parser_poison.py")))
    with ParserPool(1, command=poison) as pool:
        assert pool.marks(b"TEXT-CRASH", parsed, asked) == [None, None, None]
        assert pool.marks(made(), parsed, asked) == [True, False, True]
