"""Systems that hand over the message itself: Google, BlueMind, Domino, Postfix, and any other."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.catalog.merge import unite
from archive_service.model.mail import CaptureRecord, Parsed, Recipient, Role, SourceKind
from ingest.interpret import interpret

OWN = "k3jx7q@archive.example.fr"
HEADER = (
    "Received: from mx.example.fr",
    "From: Anne <anne@example.fr>",
    "To: Bob <bob@example.fr>",
    "Cc: carl@example.fr",
    "Subject: s",
    "Message-ID: <1@example.fr>",
)
COPIES = [SourceKind.GOOGLE, SourceKind.BLUEMIND, SourceKind.DOMINO, SourceKind.POSTFIX, SourceKind.GENERIC]


def record(*rcpt: str, mail_from: str = "") -> CaptureRecord:
    return CaptureRecord(
        capture="c",
        source="s",
        received_at="2026-03-01T00:00:00.000000Z",
        mail_from=mail_from,
        rcpt_to=rcpt or (OWN,),
    )


def mail(*fields: str, header: Sequence[str] = HEADER) -> bytes:
    return ("\r\n".join([*fields, *header]) + "\r\n\r\nhello\r\n").encode("utf-8")


def read(kind: SourceKind, raw: bytes, *rcpt: str) -> Parsed:
    parsed = interpret(raw, kind, record(*rcpt))
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert not parsed.envelope_complete
    return parsed


def named(address: str, role: Role = Role.UNKNOWN) -> Recipient:
    return Recipient(address=address, role=role, on_report=True)


def reported(parsed: Parsed) -> list[Recipient]:
    return [one for one in parsed.recipients if one.on_report]


@pytest.mark.parametrize("kind", COPIES)
def test_mail_that_names_no_envelope_has_its_header(kind: SourceKind) -> None:
    parsed = read(kind, mail())
    assert parsed.sender == "anne@example.fr"
    assert parsed.recipients == (
        Recipient(address="bob@example.fr", role=Role.TO),
        Recipient(address="carl@example.fr", role=Role.CC),
    )
    assert parsed.flags == ()
    assert parsed.dialect == kind.value


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize(
    "mark",
    [
        "X-MS-Journal-Report:",
        "X-MS-Exchange-Organization-Journal-Report:",
        "Content-Identifer: ExJournalReport",
        "Auto-Submitted: auto-replied (zimbra; intercept)",
        "Auto-Submitted: auto-replied\r\n (zimbra;\r\n\tintercept)",
    ],
)
def test_the_mark_of_another_system_is_a_forgery(kind: SourceKind, mark: str) -> None:
    parsed = read(kind, mail(mark))
    assert parsed.flags == ("forged_report",)
    assert reported(parsed) == []


@pytest.mark.parametrize("kind", [SourceKind.EXCHANGE, SourceKind.M365])
def test_an_intercept_is_forged_on_exchange(kind: SourceKind) -> None:
    parsed = read(kind, mail("Auto-Submitted: auto-replied (zimbra; intercept)"))
    assert parsed.flags == ("forged_report",)


@pytest.mark.parametrize(
    "kind", [kind for kind in SourceKind if kind not in ("google", "bluemind", "domino")]
)
def test_the_fields_of_one_system_say_nothing_on_another(kind: SourceKind) -> None:
    raw = mail(
        "X-Gm-Original-To: evil@example.com",
        "X-BM-Journaling-Orig-To: evil@example.com",
        "X-BM-Journaling-Orig-From: evil@example.com",
        "X-Notes-Item: evil@example.com; name=$JournalRecipients",
    )
    parsed = read(kind, raw)
    assert [one.address for one in parsed.recipients] == ["bob@example.fr", "carl@example.fr"]
    assert parsed.sender == "anne@example.fr"


class TestGoogle:
    @pytest.mark.parametrize(
        ("value", "recipient"),
        [
            ("bob@example.fr", named("bob@example.fr", Role.TO)),
            ("<CARL@example.fr>", named("CARL@example.fr", Role.CC)),
            ("hidden@example.fr", named("hidden@example.fr")),
        ],
    )
    def test_the_copy_says_whom_it_was_for(self, value: str, recipient: Recipient) -> None:
        parsed = read(SourceKind.GOOGLE, mail(f"X-Gm-Original-To: {value}"))
        assert reported(parsed) == [recipient]
        assert parsed.flags == ()

    def test_the_topmost_field_is_believed_and_the_doubt_recorded(self) -> None:
        raw = mail("X-Gm-Original-To: bob@example.fr", "X-Gm-Original-To: evil@example.com")
        parsed = read(SourceKind.GOOGLE, raw)
        assert reported(parsed) == [named("bob@example.fr", Role.TO)]
        assert Recipient(address="evil@example.com") in parsed.recipients
        assert parsed.flags == ("envelope_ambiguous",)

    def test_twice_the_same_is_no_doubt(self) -> None:
        assert read(SourceKind.GOOGLE, mail(*["X-Gm-Original-To: bob@example.fr"] * 2)).flags == ()

    def test_copies_for_several_recipients_are_one_message_for_all_of_them(self) -> None:
        copies = [
            read(
                SourceKind.GOOGLE,
                mail(f"Delivered-To: {who}", f"X-Gm-Message-State: {who}x", f"X-Gm-Original-To: {who}"),
            )
            for who in ("bob@example.fr", "hidden@example.fr")
        ]
        assert len({copy.inner_digest for copy in copies}) == 1
        united = unite([one for copy in copies for one in copy.recipients])
        assert [(one.address, one.role, one.on_report) for one in united] == [
            ("bob@example.fr", Role.TO, True),
            ("carl@example.fr", Role.CC, False),
            ("hidden@example.fr", Role.UNKNOWN, True),
        ]

    def test_an_empty_field_names_nobody(self) -> None:
        assert reported(read(SourceKind.GOOGLE, mail("X-Gm-Original-To:"))) == []


class TestBlueMind:
    def test_its_fields_name_sender_and_recipients(self) -> None:
        raw = mail(
            header=(
                "Sender: office@example.fr",
                *HEADER[:2],
                "To: Bob <bob@example.fr>, dora@example.fr",
                *HEADER[3:],
                "X-BM-Journaling-Orig-From: anne@example.fr",
                "X-BM-Journaling-Orig-To: bob@example.fr,dora@example.fr",
            )
        )
        parsed = read(SourceKind.BLUEMIND, raw)
        assert parsed.sender == "anne@example.fr"
        assert reported(parsed) == [named("bob@example.fr", Role.TO), named("dora@example.fr", Role.TO)]
        assert Recipient(address="carl@example.fr", role=Role.CC) in parsed.recipients
        assert parsed.flags == ()

    @pytest.mark.parametrize("above", [True, False])
    def test_what_the_milter_cannot_have_written_is_found_but_not_believed(self, above: bool) -> None:
        forged = ("X-BM-Journaling-Orig-From: evil@example.com", "X-BM-Journaling-Orig-To: evil@example.com")
        true = ("X-BM-Journaling-Orig-From: anne@example.fr", "X-BM-Journaling-Orig-To: bob@example.fr")
        raw = mail(header=(*forged, *HEADER, *true) if above else (*HEADER, *true, *forged))
        parsed = read(SourceKind.BLUEMIND, raw)
        assert parsed.sender == "anne@example.fr"
        assert reported(parsed) == [named("bob@example.fr", Role.TO)]
        assert Recipient(address="evil@example.com") in parsed.recipients
        assert parsed.flags == ("envelope_ambiguous",)

    def test_a_forged_list_alone_names_nobody_who_got_it(self) -> None:
        parsed = read(SourceKind.BLUEMIND, mail("X-BM-Journaling-Orig-To: boss@example.fr"))
        assert reported(parsed) == []
        assert parsed.flags == ("envelope_ambiguous",)

    def test_the_fields_make_no_other_message(self) -> None:
        plain = read(SourceKind.GENERIC, mail())
        journaled = read(
            SourceKind.BLUEMIND, mail(header=(*HEADER, "X-BM-Journaling-Orig-To: bob@example.fr"))
        )
        assert plain.inner_digest == journaled.inner_digest

    def test_an_empty_list_names_nobody(self) -> None:
        """A message with Cc alone: the milter writes an empty list, or none."""
        parsed = read(SourceKind.BLUEMIND, mail(header=(*HEADER, "X-BM-Journaling-Orig-To: ")))
        assert reported(parsed) == []


class TestSubAddresses:
    @pytest.mark.parametrize(
        "kind", [SourceKind.POSTFIX, SourceKind.BLUEMIND, SourceKind.ZIMBRA, SourceKind.GENERIC]
    )
    def test_recipients_stand_in_the_archives_address(self, kind: SourceKind) -> None:
        rcpt = [f"k3jx7q+{who}=example.fr@archive.example.fr" for who in ("bob", "hidden", "BOB")]
        parsed = read(kind, mail(), *rcpt)
        assert reported(parsed) == [named("bob@example.fr", Role.TO), named("hidden@example.fr")]

    def test_the_archives_own_address_is_no_recipient(self) -> None:
        assert reported(read(SourceKind.POSTFIX, mail(), OWN)) == []

    def test_the_header_says_who_wrote_it_and_the_record_who_sent_it(self) -> None:
        raw = mail()
        parsed = interpret(raw, SourceKind.POSTFIX, record(OWN, mail_from="bounces+1=x@lists.example.com"))
        assert parsed.sender == "anne@example.fr"


class TestDomino:
    @pytest.mark.parametrize(
        ("field", "recipients"),
        [
            (
                "X-Notes-Item: hidden@example.fr; name=AltBlindCopyTo",
                [("hidden@example.fr", Role.BCC, False)],
            ),
            (
                "X-Notes-Item: h@example.fr, i@example.fr; type=501; flags=44; name=BlindCopyTo",
                [("h@example.fr", Role.BCC, False), ("i@example.fr", Role.BCC, False)],
            ),
            (
                "X-Notes-Item: h@example.fr;\r\n\tname=InetCopyTo; type=501",
                [("h@example.fr", Role.CC, False)],
            ),
            (
                "X-Notes-Item: CN=Anne Martin/OU=Paris/O=Ex; name=$JournalRecipients",
                [("CN=Anne Martin/OU=Paris/O=Ex", Role.UNKNOWN, True)],
            ),
            (
                "X-Notes-Item: CN=Anne Martin/O=Ex@EXEMPLE, bob@example.fr; name=$JournalRecipients",
                [("CN=Anne Martin/O=Ex@EXEMPLE", Role.UNKNOWN, True), ("bob@example.fr", Role.TO, True)],
            ),
            (
                "X-Notes-Item: h@example.fr; name=$JournalRecipientsExpanded_12",
                [("h@example.fr", Role.UNKNOWN, True)],
            ),
            ("$JournalRecipients: h@example.fr", [("h@example.fr", Role.UNKNOWN, True)]),
            ("X-Notes-Item: ., .; name=InetBlindCopyTo", []),
            ("X-Notes-Item: h@example.fr", []),
            ("X-Notes-Item: h@example.fr; name=$Other", []),
            ("X-Notes-Item: ; name=", []),
            (
                'X-Notes-Item: "Martin, Anne" <h@example.fr>; name=BlindCopyTo',
                [("h@example.fr", Role.BCC, False)],
            ),
        ],
    )
    def test_items_of_notes(self, field: str, recipients: list[tuple[str, Role, bool]]) -> None:
        parsed = read(SourceKind.DOMINO, mail(field))
        others = {"bob@example.fr", "carl@example.fr"} - {address for address, _, _ in recipients}
        found = [
            (one.address, one.role, one.on_report) for one in parsed.recipients if one.address not in others
        ]
        assert found == recipients
        assert parsed.flags == ()

    def test_the_journals_list_and_a_blind_copy_are_put_together(self) -> None:
        raw = mail(
            "X-Notes-Item: hidden@example.fr; name=AltBlindCopyTo",
            "X-Notes-Item: bob@example.fr, hidden@example.fr, liste@example.fr; name=$JournalRecipients",
            "X-Notes-Item: dora@example.fr; name=$JournalRecipientsExpanded_1",
        )
        assert read(SourceKind.DOMINO, raw).recipients == (
            named("bob@example.fr", Role.TO),
            named("hidden@example.fr", Role.BCC),
            named("liste@example.fr"),
            named("dora@example.fr"),
            Recipient(address="carl@example.fr", role=Role.CC),
        )

    def test_of_several_lists_none_is_believed(self) -> None:
        raw = mail(
            "X-Notes-Item: bob@example.fr; name=$JournalRecipients",
            "X-Notes-Item: boss@example.fr; name=$JournalRecipients",
        )
        parsed = read(SourceKind.DOMINO, raw)
        assert {one.address for one in parsed.recipients} >= {"bob@example.fr", "boss@example.fr"}
        assert reported(parsed) == []
        assert parsed.flags == ("envelope_ambiguous",)

    @pytest.mark.parametrize("unit", [";", "a=b;", '"', ",", "\\", '\\"', ";name=", "@"])
    def test_hostile_items_end(self, unit: str) -> None:
        read(SourceKind.DOMINO, mail("X-Notes-Item: " + unit * 200_000 + "; name=$JournalRecipients"))


FIELD = st.sampled_from(
    [
        "X-Gm-Original-To",
        "X-BM-Journaling-Orig-To",
        "X-BM-Journaling-Orig-From",
        "X-Notes-Item",
        "$JournalRecipients",
        "X-Envelope-To",
        "Auto-Submitted",
    ]
)


@given(
    st.sampled_from(SourceKind),
    st.lists(st.tuples(FIELD, st.text(max_size=40)), max_size=6),
    st.lists(st.text(max_size=30), max_size=3),
)
@settings(max_examples=300)
def test_hostile_fields_never_raise(kind: SourceKind, fields: list[tuple[str, str]], rcpt: list[str]) -> None:
    lines = [f"{name}: {value}".encode("utf-8", "replace") for name, value in fields]
    raw = b"\r\n".join([*lines, *(one.encode() for one in HEADER)]) + b"\r\n\r\nhello"
    parsed = interpret(raw, kind, record(*rcpt))
    assert (parsed.inner_start, parsed.inner_end) == (0, len(raw))
    assert not parsed.envelope_complete
