"""Captures into one message, and a message into an index document."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.catalog.base import CaptureRow
from archive_service.catalog.merge import RANK_STEP, flags_of, merge, unite
from archive_service.model.errors import Invalid
from archive_service.model.mail import Finding, Parsed, Part, Recipient, Role, Text
from search.document import to_document

RECEIVED = "2024-03-01T10:00:00.500000Z"
RECEIVED_SECONDS = 1_709_287_200


def capture(order_seq, *recipients, received=RECEIVED, message="m1", **parsed):
    finding = Finding(
        capture=f"c{order_seq}",
        message=message,
        source="s1",
        received_at=received,
        parsed=Parsed(
            **{"parser": "1", "dialect": "generic", "inner_start": 0, "inner_end": 9, "inner_digest": "00"}
            | parsed,
            recipients=recipients,
        ),
    )
    return CaptureRow(f"c{order_seq}", "log", order_seq, order_seq, "key", "2024-04-01T00:00:00Z", finding)


def recipient(address, role="unknown", on_report=False, **more):
    return Recipient(address=address, role=role, on_report=on_report, **more)


@pytest.mark.parametrize(
    ("given_roles", "role"),
    [
        ([("unknown", True), ("cc", False)], Role.CC),
        ([("to", False), ("cc", False)], Role.TO),
        ([("to", False), ("bcc", True)], Role.BCC),
        ([("to", True), ("bcc", True)], Role.TO),
        ([("to", True), ("cc", False)], Role.TO),
        ([("unknown", False), ("unknown", True)], Role.UNKNOWN),
    ],
)
def test_best_known_role_wins(given_roles, role):
    captures = [capture(n, recipient("a@ex.fr", r, on)) for n, (r, on) in enumerate(given_roles)]
    (united,) = merge(captures).recipients
    assert united.role is role
    assert united.on_report is any(on for _, on in given_roles)


def test_a_message_is_a_draft_only_while_all_its_captures_are():
    saved, sent = capture(1, flags=("draft", "journal_report")), capture(2, flags=("dsn",))
    assert flags_of([saved]) == ("draft", "journal_report")
    assert flags_of([saved, sent]) == flags_of([sent, saved]) == ("dsn", "journal_report")
    text = Text(body="x")
    assert to_document(merge([saved]), text).flags == ("draft", "journal_report")
    assert to_document(merge([saved, sent]), text).flags == ("dsn", "journal_report")


def test_recipients_unite_by_lower_cased_address_and_keep_where_they_came_from():
    one = capture(1, recipient("Anne@Ex.fr", "to"), recipient("bob@ex.fr", expanded_from="tous@ex.fr"))
    two = capture(
        2, recipient("anne@ex.fr", on_report=True, forwarded_from="a@ex.fr"), recipient("c@ex.fr", "bcc")
    )
    assert merge([two, one]).recipients == (
        recipient("Anne@Ex.fr", "to", True, forwarded_from="a@ex.fr"),
        recipient("bob@ex.fr", expanded_from="tous@ex.fr"),
        recipient("c@ex.fr", "bcc"),
    )


def test_first_capture_gives_subject_time_and_rank_and_the_earliest_receipt_the_month():
    first = capture(7, subject="un", sent_at="2024-02-29T23:59:59.900000Z")
    later = capture(
        9, subject="deux", sent_at="2020-01-01T00:00:00Z", sender="a@ex.fr", received="2023-12-31T23:59:59Z"
    )
    message = merge([later, first])
    assert (message.subject, message.sent_at, message.sender) == (
        "un",
        "2024-02-29T23:59:59.900000Z",
        "a@ex.fr",
    )
    assert message.rank == 1_709_251_199 * RANK_STEP + 7
    assert (message.version, message.month) == (9, "2023-12")
    assert [row.id for row in message.captures] == ["c7", "c9"]


@pytest.mark.parametrize("sent_at", [None, "", "99-01-01T00:00:00.000000Z", "2024-01-01T00:00:00"])
def test_a_time_that_cannot_be_read_falls_back_to_receipt(sent_at):
    message = merge([capture(7, sent_at=sent_at)])
    assert message.rank == RECEIVED_SECONDS * RANK_STEP + 7
    assert to_document(message, Text()).sent == RECEIVED_SECONDS


@pytest.mark.parametrize("sent_at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_rank_fits_64_bits_whatever_the_date_claims(sent_at):
    assert -(2**63) <= merge([capture(2**40, sent_at=sent_at)]).rank < 2**63


def test_envelope_is_complete_when_one_capture_is():
    assert merge([capture(1), capture(2, envelope_complete=True)]).envelope_complete
    assert not merge([capture(1), capture(2)]).envelope_complete


@pytest.mark.parametrize(
    "captures", [[], [capture(1), capture(2, message="m2")]], ids=["none", "of two messages"]
)
def test_what_is_not_one_message_is_refused(captures):
    with pytest.raises(Invalid) as caught:
        merge(captures)
    assert caught.value.code == "catalog.merge"


_ADDRESSES = st.sampled_from(["a@x.fr", "A@x.fr", "b@x.fr", "c@x.fr"])
_RECIPIENTS = st.lists(
    st.builds(recipient, _ADDRESSES, st.sampled_from(list(Role)), st.booleans()), max_size=5
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_RECIPIENTS, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_merging_ignores_order_and_only_ever_adds(lists, random):
    captures = [capture(n, *recipients) for n, recipients in enumerate(lists)]
    shuffled = random.sample(captures, len(captures))
    whole = merge(captures)
    assert merge(shuffled) == whole
    fewer = {r.address.lower(): r for r in merge(captures[:-1]).recipients}
    more = {r.address.lower(): r for r in whole.recipients}
    assert fewer.keys() <= more.keys()
    for address, before in fewer.items():
        after = more[address]
        assert after.on_report >= before.on_report
        assert before.role is Role.UNKNOWN or after.role is not Role.UNKNOWN


@settings(max_examples=100, deadline=None)
@given(_RECIPIENTS)
def test_uniting_twice_is_uniting_once(recipients):
    once = unite(recipients)
    assert unite(once) == once


def test_document_of_a_message():
    part = {"content_type": "a/b", "start": 0, "end": 1, "size": 1, "sha256": "00"}
    first = capture(
        3,
        recipient("Anne@Ex.fr", "to"),
        recipient("b@ex.fr", "cc"),
        recipient("c@ex.fr", "bcc"),
        recipient("d@ex.fr"),
        sender="Bob@Ex.fr",
        subject="Sujet",
        inner_start=100,
        inner_end=350,
        parts=(
            Part(path="1", **part),
            Part(path="2", filename="a.pdf", attachment=True, **part),
            Part(path="3", attachment=True, **part),
            Part(path="4", filename="logo.png", **part),
        ),
    )
    message = merge([first, capture(5, inner_end=9_999)])
    document = to_document(message, Text(body="corps", attachments="pièce", not_fully_indexed="timeout"))
    assert dataclasses.asdict(document) == {
        "id": "m1",
        "rank": message.rank,
        "version": 5,
        "month": "2024-03",
        "sent": RECEIVED_SECONDS,
        "size": 250,
        "subject": "Sujet",
        "sender": "bob@ex.fr",
        "to": ("anne@ex.fr", "d@ex.fr"),
        "cc": ("b@ex.fr",),
        "bcc": ("c@ex.fr",),
        "other_recipients": ("d@ex.fr",),
        "body": "corps",
        "attachments": "pièce",
        "filenames": ("a.pdf", ""),
        "not_fully_indexed": True,
        "flags": (),
    }
