"""What a .msg file says of its message when it is the capture itself, and that nothing in one breaks the reading."""

import hashlib
import json
import struct
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_service.model.canonical import canonical
from archive_service.model.mail import CaptureRecord, Parsed, Role, SourceKind, Text
from ingest.extraction import extract_text
from ingest.interpret import interpret
from ingest.mime.msg import is_msg
from tests.unit.mime_envelopes import Tree, compound, message_tree, text_stream

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "msgreader-js"
RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=(),
    channel="import",
    origin="a.msg",
)
HEADER = (
    "Microsoft Mail Internet Headers Version 2.0\r\nReceived: from a\r\nFrom: Anne <Anne@ex.fr>\r\n"
    "To: bob@ex.fr,\r\n list@ex.fr\r\nDate: Mon, 2 Mar 2026 10:00:00 +0100\r\nMessage-ID: <1@ex.fr>\r\n\r\n"
)


def read(raw: bytes) -> tuple[Parsed, Text]:
    parsed = interpret(raw, SourceKind.GENERIC, RECORD)
    return parsed, extract_text(raw, parsed)


def saved(*properties: Tree, numbers: dict[int, int] | None = None) -> bytes:
    return compound(message_tree(*properties, numbers=numbers))


def person(number: int, role: int, **said: str) -> Tree:
    wanted = {"name": 0x3001, "address": 0x3003, "smtp": 0x39FE}
    inside: Tree = {"__properties_version1.0": bytes(8) + struct.pack("<IIII", 0x0C150003, 6, role, 0)}
    for key, value in said.items():
        inside.update(text_stream(wanted[key], value))
    return {f"__recip_version1.0_#{number:08X}": inside}


def test_what_it_says_of_the_message() -> None:
    raw = saved(
        text_stream(0x0037, "Devis"),
        text_stream(0x1000, "Voici."),
        text_stream(0x007D, HEADER),
        person(0, 1, name="Bob", address="/O=X/CN=BOB", smtp="bob@ex.fr"),
        person(1, 2, name="carl@ex.fr"),
        person(2, 0x10000003, address="dora@ex.fr"),
        person(3, 0, address="anne@ex.fr"),
    )
    parsed, text = read(raw)
    assert (parsed.sender, parsed.from_header) == ("Anne@ex.fr", "Anne <Anne@ex.fr>")
    assert (parsed.subject, parsed.message_id) == ("Devis", "<1@ex.fr>")
    assert parsed.sent_at == "2026-03-02T09:00:00.000000Z"
    assert [(one.address, one.role) for one in parsed.recipients] == [
        ("bob@ex.fr", Role.TO),
        ("carl@ex.fr", Role.CC),
        ("dora@ex.fr", Role.BCC),
        ("list@ex.fr", Role.TO),
    ]
    assert not any(one.on_report for one in parsed.recipients)
    assert not parsed.envelope_complete
    assert (parsed.dialect, parsed.flags) == ("msg", ("outlook_msg",))
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert (text.body, text.attachments, text.not_fully_indexed) == ("Voici.", "", None)


def test_one_that_was_never_sent() -> None:
    parsed, _ = read(
        saved(text_stream(0x0042, "Anne"), text_stream(0x0065, "anne@ex.fr"), numbers={0x0E07: 9})
    )
    assert parsed.flags == ("outlook_msg", "draft", "no_message_id")
    assert (parsed.sender, parsed.from_header) == ("anne@ex.fr", "Anne <anne@ex.fr>")
    assert parsed.sent_at is None


def test_names_alone_are_recipients_where_there_is_no_table() -> None:
    parsed, _ = read(saved(text_stream(0x0E04, "Bob; carl@ex.fr"), text_stream(0x0E02, "Dora")))
    assert [(one.address, one.role) for one in parsed.recipients] == [
        ("Bob", Role.TO),
        ("carl@ex.fr", Role.TO),
        ("Dora", Role.BCC),
    ]


def test_files_have_the_digest_of_their_bytes_and_words_that_are_found() -> None:
    note: Tree = {
        "__attach_version1.0_#0": {**text_stream(0x3707, "note.txt"), "__substg1.0_37010102": b"remise"}
    }
    inner: Tree = {
        "__attach_version1.0_#1": {"__substg1.0_3701000D": message_tree(text_stream(0x0037, "dedans"))}
    }
    parsed, text = read(saved(note, inner))
    assert [(part.path, part.filename, part.size, part.sha256) for part in parsed.parts] == [
        ("1", "note.txt", 6, hashlib.sha256(b"remise").hexdigest()),
        ("2", "dedans", 0, hashlib.sha256(b"").hexdigest()),
    ]
    assert all(part.attachment and part.encoding == "msg" for part in parsed.parts)
    assert {"remise", "dedans", "note.txt"} <= set(text.attachments.split("\n"))


def test_only_what_was_imported_is_read_so() -> None:
    raw = saved(text_stream(0x0037, "Devis"))
    by_smtp = interpret(raw, SourceKind.GENERIC, RECORD.model_copy(update={"channel": "smtp"}))
    assert (by_smtp.dialect, by_smtp.subject) == ("generic", "")


def test_a_damaged_one_is_kept_and_said_to_be_so() -> None:
    raw = saved(text_stream(0x0037, "Devis"), text_stream(0x1000, "x" * 5000))
    torn = raw[: len(raw) - 1024]
    assert "partly_parsed" in read(torn)[0].flags
    nothing = raw[:48] + b"\xff" * 28 + raw[76:]  # its directory is nowhere
    assert is_msg(nothing)
    parsed, text = read(nothing)
    assert parsed.flags == ("outlook_msg", "no_message_id", "partly_parsed")
    assert text.not_fully_indexed is not None
    assert "mail only partly parsed" in text.not_fully_indexed


BASE = saved(
    text_stream(0x0037, "Devis"),
    text_stream(0x007D, HEADER),
    person(0, 1, smtp="bob@ex.fr"),
    {"__attach_version1.0_#0": {**text_stream(0x3707, "n.txt"), "__substg1.0_37010102": b"remise"}},
    numbers={0x3FFD: 1251, 0x0E07: 8},
)


@given(st.lists(st.tuples(st.integers(8, len(BASE) - 1), st.binary(min_size=1, max_size=8)), max_size=12))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_in_one_breaks_the_reading(changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(BASE)
    for at, put in changes:
        data[at : at + len(put)] = put
    raw = bytes(data)
    parsed, text = read(raw)
    canonical(parsed.plain())
    canonical(text.plain())
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert read(raw) == (parsed, text)


def test_times_that_make_no_sense_are_none() -> None:
    for ticks in (0, 2**64 - 1, 10**17):
        fixed = struct.pack("<IIQ", 0x00390040, 6, ticks)
        tree = message_tree(text_stream(0x0037, "x"))
        head = tree["__properties_version1.0"]
        assert isinstance(head, bytes)
        tree["__properties_version1.0"] = head + fixed
        assert read(compound(tree))[0].sent_at is None


def _same_moment(found: str | None, wanted: str | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    moment = datetime.fromisoformat(found)
    return moment.astimezone(UTC).replace(microsecond=0) == parsedate_to_datetime(wanted)


def test_real_ones_are_read_as_another_parser_reads_them() -> None:
    """Sender, recipients with roles and time of 32 .msg whose reading msgreader publishes."""
    if not CORPUS.is_dir():
        pytest.skip("the mail corpus is not here (looked for shared/corpus beside the repository)")
    compared = 0
    for path in sorted(CORPUS.rglob("*.msg")):
        parsed, _ = read(path.read_bytes())
        assert "partly_parsed" not in parsed.flags, path
        if not path.with_suffix(".json").exists():
            continue
        wanted = json.loads(path.with_suffix(".json").read_text("utf-8"))
        compared += 1
        assert parsed.sender == (wanted.get("senderEmail") or wanted.get("senderName")), path
        people = [(one.get("smtpAddress") or one["email"], one["recipType"]) for one in wanted["recipients"]]
        assert [(one.address, str(one.role)) for one in parsed.recipients] == people, path
        moment = wanted.get("clientSubmitTime") or wanted.get("messageDeliveryTime")
        assert _same_moment(parsed.sent_at, moment), path
    assert compared == 32
