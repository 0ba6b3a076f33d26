"""Mail that others wrote, where it is at hand: nothing raises, offsets hold, and other parsers agree."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive_service.model.canonical import canonical
from archive_service.model.mail import CaptureRecord, Parsed, Part, SourceKind
from ingest.extraction import extract_text
from ingest.interpret import interpret
from ingest.mime.body import decode_body
from ingest.mime.charsets import decode
from ingest.mime.msg import read_msg

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
NOT_MAIL = {".json", ".golden", ".msg", ".pst", ".png", ".md", ".txt"}
RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("a@example.fr",),
)
# The 113 messages whose reading imap_tools (Python's own parser) publishes. Where we differ, we mean to:
EXPLAINED = {
    "subject": {
        "error_emails/invalid_subject_characters": "raw 8-bit is read as Western, not dropped",
        "plain_emails/raw_email_incorrect_header": "the header goes on after a damaged line, not the body",
    },
    "from": {
        "plain_emails/mix_caps_content_type": "a bare address among words is taken without the words",
        "plain_emails/raw_email_incorrect_header": "the header goes on after a damaged line",
    },
    "to": {
        "error_emails/missing_body": "an angle address with a colon and a semicolon in it stays whole",
        "mime_emails/raw_email11": "a local part alone is an address inside an organisation",
        "plain_emails/raw_email_with_at_display_name": "a display name with an @ before <...> is no recipient",
        "plain_emails/raw_email_incorrect_header": "the header goes on after a damaged line",
    },
    "text": {
        "attachment_2_base64": "a message in base64 is an attached message, not base64 as text",
        "error_emails/content_transfer_encoding_7-bit": "ISO 8859-1 is read as Windows-1252, as browsers do",
        "error_emails/content_transfer_encoding_plain": "8-bit under US-ASCII is read as Western, not dropped",
        "multipart_report_emails/multipart_report_multiple_status": "a delivery status is none of the message's text",
        "plain_emails/raw_email6": "8-bit under US-ASCII is read as Western, not dropped",
        "plain_emails/raw_email_incorrect_header": "the header goes on after a damaged line",
        "rfc2822/example13": "white space before a field's colon is read (RFC 5322 section 4.5)",
    },
    "html": {
        "error_emails/content_transfer_encoding_7-bit": "ISO 8859-1 is read as Windows-1252, as browsers do",
        "error_emails/content_transfer_encoding_empty": "Big5 is read with the HKSCS characters, as browsers do",
    },
    "attachments": {
        "error_emails/missing_content_disposition": "a picture is an attachment even with an empty disposition",
        "multipart_report_emails/multipart_report_multiple_status": "the texts of an attached message are its own",
        "text_with_content_id": "a text is no attachment for having a Content-ID",
    },
}
# The 107 messages whose trees stalwart-mail-parser publishes, each with LF and CRLF.
EXPLAINED_TREES = {
    "subject": dict.fromkeys(
        ("legacy/010", "legacy/020", "legacy/022", "legacy/027", "legacy/052"), "raw 8-bit is read as Western"
    ),
    "from": dict.fromkeys(("rfc/001", "rfc/004"), "a local part alone is an address inside an organisation"),
    "to": dict.fromkeys(("rfc/001", "rfc/004"), "a local part alone is an address inside an organisation"),
    "kinds": {
        **dict.fromkeys(
            (
                "malformed/001",
                "malformed/003",
                "malformed/004",
                "malformed/005",
                "malformed/013",
                "malformed/019",
            ),
            "a multipart in which no part is found keeps its name (and is read as text)",
        ),
        **dict.fromkeys(
            ("malformed/009", "malformed/011", "malformed/012", "malformed/014", "malformed/016"),
            "the delimiter of an outer multipart ends the inner one (RFC 2046 section 5.1.2)",
        ),
        **dict.fromkeys(
            ("malformed/020", "malformed/021"), "a multipart's parts are found after a doubled field"
        ),
        "malformed/000": "parts without a blank line are parts",
        "malformed/007": "a delimiter ends a header that has no blank line",
        "malformed/022": "what an attached message holds is listed, though it has no header",
        "rfc/008": "what a transfer encoding hides has no offsets and is no part; its words are read",
        "thirdparty/015": "the messages beside each other are all found",
    },
    "names": {
        **dict.fromkeys(("legacy/016", "legacy/023", "legacy/026"), "raw 8-bit is read as Western"),
        **dict.fromkeys(("legacy/035", "legacy/039"), "the backslashes of a Windows path stay"),
        "malformed/017": "a disposition without a word still names its file",
        "thirdparty/015": "the messages beside each other are all found",
    },
}


def mails() -> list[Path]:
    if not CORPUS.is_dir():
        return []
    found = (path for path in CORPUS.rglob("*") if path.is_file() and path.suffix not in NOT_MAIL)
    return sorted(path for path in found if not path.name.startswith(("LICENSE", "_SOURCE", "COPYING")))


@pytest.fixture
def corpus() -> Path:
    if not CORPUS.is_dir():
        pytest.skip("the mail corpus is not here (looked for shared/corpus beside the repository)")
    return CORPUS


@pytest.mark.parametrize("kind", [SourceKind.GENERIC, SourceKind.M365])
def test_every_mail_is_read(corpus: Path, kind: SourceKind) -> None:
    paths = mails()
    assert len(paths) > 1000
    for path in paths:
        raw = path.read_bytes()
        parsed = interpret(raw, kind, RECORD)
        assert 0 <= parsed.inner_start <= parsed.inner_end <= len(raw)
        for part in parsed.parts:
            assert parsed.inner_start <= part.start <= part.end <= parsed.inner_end, path
        assert "partly_parsed" not in parsed.flags, path
        canonical(parsed.plain())
        canonical(extract_text(raw, parsed).plain())


def test_files_that_are_no_mail_are_read_too(corpus: Path) -> None:
    """Outlook's own formats, pictures, JSON: a capture may be anything."""
    paths = [path for path in corpus.rglob("*") if path.is_file() and path.suffix in NOT_MAIL]
    assert {".msg", ".pst"} <= {path.suffix for path in paths}
    for path in paths:
        raw = path.read_bytes()
        parsed = interpret(raw, SourceKind.GENERIC, RECORD)
        canonical(parsed.plain())
        canonical(extract_text(raw, parsed).plain())


@pytest.mark.parametrize("ends", ["lf", "crlf"])
def test_real_journal_reports_are_unwrapped(corpus: Path, ends: str) -> None:
    expected: dict[str, dict[str, Any]] = json.loads(
        (corpus / "journal" / "expected.json").read_text("utf-8")
    )
    for name, wanted in expected.items():
        raw = (corpus / "journal" / name).read_bytes().replace(b"\r\n", b"\n")
        if ends == "crlf":
            raw = raw.replace(b"\n", b"\r\n")
        parsed = interpret(raw, SourceKind.M365, RECORD)
        inner = raw[parsed.inner_start : parsed.inner_end]
        assert hashlib.sha256(inner).hexdigest() == wanted[f"inner_sha256_{ends}"]
        assert ends == "crlf" or len(inner) == wanted["inner_len_lf"]
        assert parsed.flags == ("journal_report",)
        assert parsed.envelope_complete
        assert parsed.sender == wanted["sender"]
        assert parsed.subject == wanted["subject"]
        assert parsed.message_id == wanted["inner_message_id"] == wanted["message_id"]
        reported = [one for one in parsed.recipients if one.on_report]
        assert [one.address for one in reported] == [one["address"] for one in wanted["recipients"]]
        assert {one.role.value for one in reported} == {"unknown"}
        assert interpret(raw, SourceKind.GENERIC, RECORD).flags == ("forged_report",)


def squeezed(text: str) -> str:
    return "".join(text.split())


def texts(raw: bytes, parts: tuple[Part, ...], kind: str) -> str:
    chosen = (part for part in parts if part.content_type == kind and not part.attachment)
    return "".join(decode(bytes(decode_body(raw, p.start, p.end, p.encoding)), p.charset) for p in chosen)


def without_charset(html: str) -> str:
    """imap_tools rewrites the charset that HTML declares."""
    return re.sub(r"charset=[\"']?[\w-]+", "charset=", squeezed(html), flags=re.IGNORECASE)


def compared(raw: bytes, parsed: Parsed, wanted: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    attachments = sum(part.attachment for part in parsed.parts)
    yield "subject", squeezed(parsed.subject) == squeezed(wanted["subject"])
    yield "from", (parsed.sender or "") == wanted["from_"]
    to = [one.address for one in parsed.recipients if one.role == "to"]
    yield "to", to == list(dict.fromkeys(wanted["to"]))
    yield "text", squeezed(texts(raw, parsed.parts, "text/plain")) == squeezed(wanted["text"])
    yield "html", without_charset(texts(raw, parsed.parts, "text/html")) == without_charset(wanted["html"])
    yield "attachments", attachments == len(wanted["attachments"])


def differing(expected: Iterator[tuple[str, str, bool]]) -> dict[str, set[str]]:
    """What differs, by kind, from a run of name, kind and whether it is the same."""
    found: dict[str, set[str]] = {}
    for name, what, same in expected:
        if not same:
            found.setdefault(what, set()).add(name)
    return found


def explained(reasons: dict[str, dict[str, str]]) -> dict[str, set[str]]:
    return {what: set(names) for what, names in reasons.items()}


def test_another_parser_reads_the_same_but_for_what_is_explained(corpus: Path) -> None:
    """111, 111, 109, 106, 111 and 110 of 113; every difference is named above, and no name is there in vain."""
    expected = json.loads((corpus / "imap_tools" / "expected.json").read_text("utf-8"))
    assert len(expected) == 113

    def run() -> Iterator[tuple[str, str, bool]]:
        for name, wanted in expected.items():
            raw = (corpus / "imap_tools" / name).read_bytes()
            short = name.removeprefix("messages/").removesuffix(".eml")
            for what, same in compared(raw, interpret(raw, SourceKind.GENERIC, RECORD), wanted):
                yield short, what, same

    assert differing(run()) == explained(EXPLAINED)


# --- the trees of stalwart-mail-parser --------------------------------------------------------------------


def values(part: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The values of a header field, but empty ones."""
    return [each["value"] for each in part["headers"] if each["name"] == name and each["value"] != "Empty"]


def tree_addresses(part: dict[str, Any], name: str) -> list[str]:
    found: list[str | None] = []
    for value in values(part, name):
        for one in value["Address"].get("List", []):
            found.append(one.get("address"))
        for group in value["Address"].get("Group", []):
            found.extend(one.get("address") for one in group["addresses"])
    return [address for address in found if address]


def tree_leaves(parts: list[dict[str, Any]], number: int = 0) -> Iterator[dict[str, Any]]:
    body = parts[number]["body"]
    if "Multipart" in body:
        for child in body["Multipart"]:
            yield from tree_leaves(parts, child)
        return
    yield parts[number]
    if isinstance(body, dict) and isinstance(body.get("Message"), dict):
        yield from tree_leaves(body["Message"]["parts"])


def tree_kind(part: dict[str, Any]) -> str:
    for value in values(part, "content_type"):
        said = value["ContentType"]
        return f"{said['c_type']}/{said['c_subtype']}".lower()
    return "message/rfc822" if "Message" in part["body"] else "text/plain"


def tree_name(part: dict[str, Any]) -> str | None:
    for header, attribute in (("content_disposition", "filename"), ("content_type", "name")):
        for value in values(part, header)[:1]:
            for each in value["ContentType"]["attributes"] or []:
                if each["name"] == attribute:
                    return str(each["value"])
    return None


def compared_trees(parsed: Parsed, tree: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    root, leaves = tree["parts"][0], list(tree_leaves(tree["parts"]))
    subject = [value["Text"] for value in values(root, "subject")] or [""]
    yield "subject", squeezed(parsed.subject) == squeezed(subject[0])
    yield "from", [parsed.sender] == (tree_addresses(root, "from")[:1] or [None])
    to = [one.address for one in parsed.recipients if one.role == "to"]
    yield "to", to == list(dict.fromkeys(tree_addresses(root, "to")))
    yield "kinds", [part.content_type for part in parsed.parts] == [tree_kind(leaf) for leaf in leaves]
    names = [part.filename for part in parsed.parts if part.filename]
    yield "names", names == [name for leaf in leaves if (name := tree_name(leaf))]


@pytest.mark.parametrize("ends", ["lf", "crlf"])
def test_a_third_parser_finds_the_same_trees_but_for_what_is_explained(corpus: Path, ends: str) -> None:
    """Of 107: subject 102, from 105, to 105, kinds of all parts 89, file names 100."""
    folder = corpus / "stalwart-mail-parser" / "eml"
    mails = sorted(folder.rglob("*.eml"))
    assert len(mails) == 107

    def run() -> Iterator[tuple[str, str, bool]]:
        for path in mails:
            raw = path.read_bytes()
            if ends == "crlf":
                raw = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            tree = path.with_suffix(".json" if ends == "lf" else ".crlf.json")
            parsed = interpret(raw, SourceKind.GENERIC, RECORD)
            for what, same in compared_trees(parsed, json.loads(tree.read_text("utf-8"))):
                yield str(path.relative_to(folder).with_suffix("")), what, same

    assert differing(run()) == explained(EXPLAINED_TREES)


def test_saved_messages_are_read_as_another_parser_does(corpus: Path) -> None:
    """Subject, text and file names of 32 .msg; one subject is read in its code page, not left as it is."""
    compared, subjects = 0, set()
    for path in sorted((corpus / "msgreader-js").rglob("*.msg")):
        item = read_msg(path.read_bytes())
        assert item is not None
        assert item.complete, path
        if not path.with_suffix(".json").exists():
            continue
        wanted = json.loads(path.with_suffix(".json").read_text("utf-8"))
        compared += 1
        assert squeezed(item.text) == squeezed(wanted.get("body", "")), path
        names = [each.get("fileName") or each.get("name") for each in wanted["attachments"]]
        assert sorted(file.name for file in item.files) == sorted(names), path
        if squeezed(item.subject) != squeezed(wanted.get("subject", "")):
            subjects.add(path.stem)
    assert (compared, subjects) == (32, {"contactAnsi"})
