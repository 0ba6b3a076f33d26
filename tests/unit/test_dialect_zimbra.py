"""Zimbra's legal intercepts, by default templates and by changed ones, and the copies of archiving accounts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.mail import CaptureRecord, Parsed, Recipient, Role, SourceKind
from ingest.interpret import interpret

RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("k3jx7q@archive.example.fr",),
)
MARK = "Auto-Submitted: auto-replied (zimbra; intercept)"
ACCOUNT = "bob@example.fr"
INNER = (
    "From: Anne <anne@example.fr>\nTo: bob@example.fr\nSubject: devis\nMessage-ID: <1@example.fr>\n\nhello"
)


def body(operation: str, folder: str = "Inbox", account: str = ACCOUNT) -> str:
    return f"Intercepted message for {account}.\nOperation={operation}, folder={folder}, folder ID=2."


def intercept(
    text: str,
    *inner: str,
    mark: str = MARK,
    subject: str = f"Intercepted message for {ACCOUNT}: devis",
    part: str = "Content-Type: text/plain; charset=utf-8",
    message: str = "message/rfc822",
) -> bytes:
    head = (
        f"From: Postmaster <postmaster@example.fr>\nTo: k3jx7q@archive.example.fr\nSubject: {subject}\n{mark}\n"
        f"Message-ID: <i@example.fr>\nContent-Type: multipart/mixed; boundary=B\n\n--B\n{part}\n\n{text}\n"
    )
    parts = "".join(f"--B\nContent-Type: {message}\n\n{one}\n" for one in inner)
    return (head + parts + "--B--\n").replace("\n", "\r\n").encode("utf-8")


def read(raw: bytes, kind: SourceKind = SourceKind.ZIMBRA) -> Parsed:
    parsed = interpret(raw, kind, RECORD)
    assert not parsed.envelope_complete
    return parsed


def inner_of(raw: bytes, parsed: Parsed) -> str:
    return raw[parsed.inner_start : parsed.inner_end].decode("utf-8").replace("\r\n", "\n")


def reported(parsed: Parsed) -> list[Recipient]:
    return [one for one in parsed.recipients if one.on_report]


def test_what_came_to_a_mailbox_went_to_its_account() -> None:
    raw = intercept(body("add message"), INNER)
    parsed = read(raw)
    assert inner_of(raw, parsed) == INNER
    assert parsed.flags == ("journal_report",)
    assert parsed.mailbox == ACCOUNT
    assert parsed.sender == "anne@example.fr"
    assert reported(parsed) == [Recipient(address=ACCOUNT, role=Role.TO, on_report=True)]


def test_an_account_that_the_header_does_not_name_got_a_blind_copy_or_a_list() -> None:
    parsed = read(intercept(body("add message", account="hidden@example.fr"), INNER))
    assert reported(parsed) == [Recipient(address="hidden@example.fr", role=Role.UNKNOWN, on_report=True)]


def test_what_an_account_wrote_did_not_go_to_it() -> None:
    """A sent message is added to the folder Sent as well."""
    for operation in ("add message", "send message"):
        parsed = read(intercept(body(operation, "Sent", "ANNE@example.fr"), INNER))
        assert reported(parsed) == []
        assert parsed.mailbox == "ANNE@example.fr"
        assert "draft" not in parsed.flags


def test_a_draft_is_marked() -> None:
    raw = intercept(body("save draft", "Drafts", "anne@example.fr"), INNER)
    parsed = read(raw)
    assert parsed.flags == ("journal_report", "draft")
    assert inner_of(raw, parsed) == INNER
    assert reported(parsed) == []


def test_a_folders_name_makes_no_draft() -> None:
    parsed = read(intercept(body("add message", "x, Operation=save draft, folder=y"), INNER))
    assert "draft" not in parsed.flags
    assert len(reported(parsed)) == 1


@pytest.mark.parametrize("end", ["\n", ".\n", "", ":\n"])
def test_the_account_ends_where_the_address_ends(end: str) -> None:
    assert read(intercept(f"Intercepted message for {ACCOUNT}{end}", INNER)).mailbox == ACCOUNT


CHANGED = "Compte surveillé : bob. Action : {operation} - {subject}"


@pytest.mark.parametrize(
    ("operation", "flags"),
    [
        ("add message", ()),
        ("send message", ()),
        ("save draft", ("draft",)),
        ("autre", ("operation_unknown",)),
    ],
)
def test_a_changed_template_unwraps_and_says_what_it_can(operation: str, flags: tuple[str, ...]) -> None:
    raw = intercept(CHANGED.format(operation=operation, subject="devis"), INNER, subject="Copie légale")
    parsed = read(raw)
    assert inner_of(raw, parsed) == INNER
    assert parsed.flags == ("journal_report", *flags)
    assert parsed.mailbox is None
    assert reported(parsed) == []


def test_a_subject_makes_no_draft() -> None:
    inner = INNER.replace("Subject: devis", "Subject: how to save draft")
    text = CHANGED.format(operation="add message", subject="how to save draft")
    assert "draft" not in read(intercept(text, inner, subject="x")).flags
    both = CHANGED.format(operation="add message", subject="save draft, or so")
    assert "operation_unknown" in read(intercept(both, inner, subject="x")).flags


@pytest.mark.parametrize(
    "own", ["Operation=add message", "Action : add message"], ids=["default line", "own words"]
)
@pytest.mark.parametrize(
    "subject", ["Operation=save draft", "x =?utf-8?q?=0AOperation=3Dsave_draft?="], ids=["plain", "line end"]
)
def test_a_subject_that_is_an_operations_line_hides_nothing(own: str, subject: str) -> None:
    """A template of one's own may begin with ${MESSAGE_SUBJECT}; a draft is left out of searches."""
    inner = INNER.replace("Subject: devis", f"Subject: {subject}")
    for shown in ("Operation=save draft", "x \nOperation=save draft", "x\nOperation=save draft"):
        assert "draft" not in read(intercept(f"{shown}\n{own}, folder=Inbox.", inner, subject="x")).flags


def test_a_subject_of_an_operations_words_leaves_the_default_template_readable() -> None:
    inner = INNER.replace("Subject: devis", "Subject: add message")
    assert read(intercept(body("add message"), inner)).flags == ("journal_report",)
    assert "draft" in read(intercept(body("save draft"), INNER.replace("devis", "draft"))).flags


def test_the_subject_names_the_account_when_the_text_does_not() -> None:
    assert read(intercept("autre chose", INNER)).mailbox == ACCOUNT


def test_an_empty_template_unwraps() -> None:
    raw = intercept("", INNER, subject="")
    parsed = read(raw)
    assert inner_of(raw, parsed) == INNER
    assert parsed.flags == ("journal_report", "operation_unknown")


@pytest.mark.parametrize("end", ["\n\n", "\n\n\n \n", "\n"])
def test_headers_alone_are_marked(end: str) -> None:
    header = INNER.partition("\n\n")[0].replace(
        "Subject", "Content-Type: multipart/mixed; boundary=z\nSubject"
    )
    parsed = read(intercept(body("add message"), header + end))
    assert parsed.flags == ("journal_report", "headers_only")
    assert parsed.subject == "devis"


@pytest.mark.parametrize(
    "raw",
    [
        intercept(body("add message")),
        intercept(body("add message"), INNER, INNER + "!"),
        intercept(
            body("add message"), "aGVsbG8=", message="message/rfc822\nContent-Transfer-Encoding: base64"
        ),
        f"{MARK}\r\nTo: K3JX7Q@archive.example.fr\r\n\r\nIntercepted message for bob@example.fr.".encode(),
    ],
)
def test_an_intercept_without_one_message_is_kept_whole(raw: bytes) -> None:
    parsed = read(raw)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert parsed.flags[:2] == ("journal_report", "report_unparsed")


@pytest.mark.parametrize("to", ["bob@example.fr", "", "k3jx7q@archive.example.fr.example.com"])
def test_an_intercept_that_is_not_addressed_to_the_source_is_forged(to: str) -> None:
    """The MTA hands over copies to the same source: whoever writes to a mailbox can write the mark."""
    raw = intercept(body("add message"), INNER).replace(
        b"To: k3jx7q@archive.example.fr", f"To: {to}".encode()
    )
    parsed = read(raw)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert "forged_report" in parsed.flags
    assert parsed.mailbox is None
    assert reported(parsed) == []


def test_an_imported_intercept_has_no_rcpt() -> None:
    raw = intercept(body("add message"), INNER).replace(b"k3jx7q@archive.example.fr", b"shadow@example.fr")
    imported = RECORD.model_copy(update={"channel": "import", "rcpt_to": ()})
    parsed = interpret(raw, SourceKind.ZIMBRA, imported)
    assert inner_of(raw, parsed) == INNER


def test_mail_without_the_mark_is_mail() -> None:
    raw = intercept(body("add message"), INNER, mark="Auto-Submitted: auto-replied")
    parsed = read(raw)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert "journal_report" not in parsed.flags
    assert parsed.mailbox is None


@pytest.mark.parametrize("kind", [kind for kind in SourceKind if kind != "zimbra"])
def test_no_other_source_unwraps_an_intercept(kind: SourceKind) -> None:
    raw = intercept(body("add message"), INNER)
    parsed = read(raw, kind)
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert "forged_report" in parsed.flags
    assert parsed.mailbox is None
    assert reported(parsed) == []


def test_an_intercept_that_somebody_mailed_is_unwrapped_once() -> None:
    mailed = f"{MARK}\n{INNER}"
    raw = intercept(body("add message"), mailed)
    parsed = read(raw)
    assert inner_of(raw, parsed) == mailed
    assert parsed.flags == ("journal_report", "forged_report")


def test_a_report_of_exchange_is_forged_here() -> None:
    parsed = read(b"X-MS-Journal-Report:\r\n" + INNER.replace("\n", "\r\n").encode())
    assert parsed.flags == ("forged_report",)


def forked(*fields: str) -> Parsed:
    header = INNER.partition("\n\n")[0].replace("\n", "\r\n")
    return read(("\r\n".join(fields) + "\r\n" + header + "\r\n\r\nhello").encode())


def test_an_archiving_accounts_copy_says_whom_it_was_for() -> None:
    parsed = forked(
        "X-Envelope-From: <anne@example.fr>",
        "X-Envelope-To: <bob@example.fr>, <hidden@example.fr>",
        "X-Quarantine-ID: <nq6>",
        "Received: from localhost (amavisd-new)",
    )
    assert reported(parsed) == [
        Recipient(address="bob@example.fr", role=Role.TO, on_report=True),
        Recipient(address="hidden@example.fr", role=Role.UNKNOWN, on_report=True),
    ]


def test_what_stands_below_received_may_be_anybodys() -> None:
    parsed = forked("Received: from mx.example.com", "X-Envelope-To: <evil@example.com>")
    assert reported(parsed) == []


@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=120),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40),
)
@settings(max_examples=200)
def test_any_template_is_unwrapped(text: str, subject: str) -> None:
    raw = intercept(text.replace("--B", "--C"), INNER, subject=subject)
    parsed = read(raw)
    assert inner_of(raw, parsed) == INNER
    assert parsed.flags[0] == "journal_report"


@pytest.mark.parametrize("unit", ["Intercepted message for ", "a@b", "<", "Operation=", "add message", "\n"])
def test_long_templates_end(unit: str) -> None:
    read(intercept("Intercepted message for " + unit * 100_000, INNER))
