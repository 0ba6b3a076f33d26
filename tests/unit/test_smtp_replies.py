"""Replies: every one is well formed, and what goes wrong on our side is never a 5xx."""

import re

import pytest

from archive_service.model import errors
from archive_service.model.errors import ArchiveError
from ingest.intake import Receipt
from ingest.smtp import replies
from ingest.smtp.replies import Reply

ALL = {name: value for name, value in vars(replies).items() if isinstance(value, Reply)}
KINDS = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ArchiveError)
]


@pytest.mark.parametrize("name", ALL)
def test_a_reply_is_one_line_with_a_status_code_of_its_class(name: str) -> None:
    wire = ALL[name].wire
    assert re.fullmatch(rb"[2-5]\d\d [ -~]+\r\n", wire)
    if name not in ("SEND_DATA", "HELLO_SYNTAX"):  # RFC 2034 section 4 exempts 3xx, HELO and EHLO
        assert re.match(rb"([245])\d\d \1\.\d{1,3}\.\d{1,3} ", wire)


@pytest.mark.parametrize("name", ALL)
def test_refusals_have_a_reason_and_mistakes_are_permanent(name: str) -> None:
    reply = ALL[name]
    assert bool(reply.reason) == reply.wire.startswith((b"4", b"5"))
    if reply.fault:
        assert reply.wire.startswith(b"5")


def _error(kind: type[ArchiveError]) -> ArchiveError:
    return errors.QueryError("no", 0) if kind is errors.QueryError else kind("no")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_of_the_archive_is_a_4xx(kind: type[ArchiveError]) -> None:
    reply = replies.for_error(_error(kind))
    assert reply.is_transient
    assert not reply.fault


@pytest.mark.parametrize(
    ("error", "start"),
    [
        (errors.StoreFull("no"), b"452 4.3.1 "),
        (errors.Overloaded("no"), b"452 4.3.1 "),
        (errors.StoreDenied("no"), b"451 4.3.0 "),
        (errors.SlotLost("no"), b"451 4.3.0 "),
        (errors.StoreError("no"), b"451 4.3.0 "),
        (errors.KeyUnavailable("no"), b"451 4.3.0 "),
        (errors.Denied("no"), b"451 4.3.0 "),
        (ArchiveError("no"), b"451 4.3.0 "),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_mapping(error: ArchiveError, start: bytes) -> None:
    assert replies.for_error(error).wire.startswith(start)


def test_the_250_names_the_entry() -> None:
    receipt = Receipt(log="k7", seq=42, capture="x")
    assert replies.archived(receipt).wire == b"250 2.0.0 archived log=k7 seq=42\r\n"


def test_hello_lists_extensions() -> None:
    assert replies.hello("mx.test").wire == b"250 mx.test\r\n"
    assert replies.hello("mx.test", ("SIZE 1", "HELP")).wire == b"250-mx.test\r\n250-SIZE 1\r\n250 HELP\r\n"
