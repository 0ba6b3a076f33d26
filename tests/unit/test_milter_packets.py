"""The bytes of the milter protocol: what Postfix sends, what nobody should, and never an error but the parser's own."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.milter import replies as milter_replies
from ingest.milter.macros import Macros
from ingest.milter.negotiation import agree
from ingest.milter.packets import (
    Client,
    Malformed,
    Path,
    client,
    command_of,
    header_field,
    macros,
    only_string,
    packed,
    path,
    strings,
)
from ingest.smtp import replies
from tests.unit.milter_fakes import ALL_ACTIONS, ALL_STEPS, offer

PARSERS: dict[str, Callable[[bytes], object]] = {
    "strings": strings,
    "macros": macros,
    "client": client,
    "only_string": only_string,
    "path": path,
    "header_field": lambda data: header_field(data, leading_space=True),
    "agree": agree,
}
RCPT_REJ = 0x800


@pytest.mark.parametrize("name", PARSERS)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_malformed(name: str, data: bytes) -> None:
    with suppress(Malformed):
        PARSERS[name](data)


@given(letter=st.integers(0, 255))
def test_any_letter_is_a_command_or_malformed(letter: int) -> None:
    with suppress(Malformed):
        assert command_of(letter).value == chr(letter)


def test_a_packet_counts_its_letter() -> None:
    assert packed(b"c") == b"\0\0\0\x01c"
    assert packed(b"y", b"451 no\0") == b"\0\0\0\x08y451 no\0"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"mail.test\x004\x10\x01192.0.2.1\0", Client("mail.test", "192.0.2.1")),
        (b"mail.test\x006\x10\x012001:db8::1\0", Client("mail.test", "2001:db8::1")),
        (b"mail.test\x006\x10\x01IPv6:2001:db8::1\0", Client("mail.test", "2001:db8::1")),
        (b"localhost\x00L\0\0/run/sock\0", Client("localhost", None)),
        (b"unknown\x00U", Client("unknown", None)),
        (b"\xe9\x00U", Client("\\xe9", None)),
    ],
)
def test_the_client_is_read_in_every_family(data: bytes, expected: Client) -> None:
    assert client(data) == expected


@pytest.mark.parametrize(
    "data", [b"", b"name", b"name\0", b"name\x004\0\x19192.0.2.1", b"name\0X\0\0\0", b"name\x004"]
)
def test_a_client_that_is_cut_off_or_of_no_family_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        client(data)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<a@b.test>\0", Path("a@b.test", ())),
        (b"<>\0", Path("", ())),
        (b"\0", Path("", ())),
        (b"a@b.test\0BODY=8BITMIME\0SIZE=30\0", Path("a@b.test", ("BODY=8BITMIME", "SIZE=30"))),
        (b"<@hop.test,@hop2.test:a@b.test>\0", Path("a@b.test", ())),
        (b"<@odd>\0", Path("@odd", ())),
        (b'<"a b"@b.test>\0', Path('"a b"@b.test', ())),
        ("<béa@exämple.test>\0SMTPUTF8\0".encode(), Path("béa@exämple.test", ("SMTPUTF8",))),
        (b"<\xff@b.test>\0", Path("\\xff@b.test", ())),
    ],
)
def test_paths_are_taken_as_the_mta_has_accepted_them(data: bytes, expected: Path) -> None:
    assert path(data) == expected


def test_macros_belong_to_a_step_and_need_values() -> None:
    assert macros(b"C{archive_source}\0x@y\0j\0mx\0") == ("C", {"archive_source": "x@y", "j": "mx"})
    assert macros(b"R") == ("R", {})
    for data in (b"", b"Cj\0", b"Cj\0mx"):
        with pytest.raises(Malformed):
            macros(data)


@pytest.mark.parametrize(
    ("data", "leading_space", "expected"),
    [
        (b"Subject\0 hello\0", True, b"Subject: hello\r\n"),
        (b"Subject\0hello\0", True, b"Subject:hello\r\n"),
        (b"Subject\0\thello \0", True, b"Subject:\thello \r\n"),
        (b"Subject\0hello\0", False, b"Subject: hello\r\n"),
        (b"To\0 a,\n\tb\0", True, b"To: a,\r\n\tb\r\n"),
        (b"To\0 a,\r\n\tb\0", True, b"To: a,\r\n\tb\r\n"),
        (b"X\0\0", True, b"X:\r\n"),
        (b"X\0 \xff\xe9 a\0b\0", True, b"X: \xff\xe9 a\0b\r\n"),
    ],
)
def test_a_field_stands_as_in_the_mail(data: bytes, leading_space: bool, expected: bytes) -> None:
    assert header_field(data, leading_space=leading_space) == expected


_line = st.binary(max_size=60).filter(lambda text: not set(text) & set(b"\0\r\n"))


@given(
    name=st.from_regex(rb"[!-9;-~]{1,20}", fullmatch=True),
    lines=st.lists(_line, min_size=1, max_size=4),
)
def test_what_an_mta_takes_apart_comes_together_again(name: bytes, lines: list[bytes]) -> None:
    """As Postfix does it: the name up to the colon, all behind it as the value, folds as LF."""
    written = name + b":" + b"\r\n\t".join(lines) + b"\r\n"
    value = written[len(name) + 1 : -2].replace(b"\r\n", b"\n")
    assert header_field(name + b"\0" + value + b"\0", leading_space=True) == written


@given(actions=st.integers(0, 2**32 - 1), steps=st.integers(0, 2**32 - 1))
def test_nothing_that_changes_or_hides_mail_is_asked_for(actions: int, steps: int) -> None:
    """No action but the list of macros; every recipient that the MTA accepts, and none that it rejects."""
    agreed = agree(offer(6, actions, steps)[5:])
    said = agreed.answer
    assert said[4:5] == b"O"
    version, taken, wanted = (int.from_bytes(said[at : at + 4], "big") for at in (5, 9, 13))
    assert version == 6
    assert taken == actions & 0x100
    assert wanted & ~steps == 0 and wanted & RCPT_REJ == 0
    assert wanted & 0x7F == 0, "connect, HELO, MAIL, RCPT, body and header are all wanted"
    assert wanted & (0x4000 | 0x8000 | 0x10000) == 0, "MAIL, RCPT and DATA can be told to come again"


def test_the_source_s_macro_is_asked_for_at_connect_and_at_mail() -> None:
    asked = agree(offer(6, ALL_ACTIONS, ALL_STEPS)[5:]).answer
    assert asked.count(b"{archive_source}") == 2


@pytest.mark.parametrize("data", [None, b"", offer(5)[5:], offer(2)[5:], offer()[5:-1]])
def test_an_older_version_is_not_spoken(data: bytes | None) -> None:
    with pytest.raises(Malformed):
        agree(data)


def test_the_newest_macro_counts_and_ends_with_its_mail() -> None:
    known = Macros()
    known.set("C", {"s": "connection", "j": "mx"})
    known.set("M", {"s": "mail", "j": " "})
    known.set("L", {"s": "a header field's"})
    assert (known.get("s"), known.get("j"), known.get("none")) == ("mail", "mx", None)
    known.end_message()
    assert known.get("s") == "connection"
    known.set("C", {"s": "x" * 5000})
    assert known.get("s") == "x" * 1024
    known.end_connection()
    assert known.get("s") is None


def test_no_reply_of_ours_is_a_refusal_for_good() -> None:
    """All that SMTP could say, and all that the milter says: each comes out as "try again later"."""
    every = [*vars(replies).values(), *vars(milter_replies).values()]
    known = [reply for reply in every if isinstance(reply, replies.Reply)]
    assert any(reply.wire.startswith(b"5") for reply in known)
    for reply in known:
        sent = milter_replies.packet(reply)
        assert sent[4:5] == b"t" or (sent[4:7] == b"y45" and sent.endswith(b"\0") and b"\n" not in sent)
    assert all(
        reply.is_transient for reply in vars(milter_replies).values() if isinstance(reply, replies.Reply)
    )
    assert all(reply.is_transient for reply in milter_replies.LACKING.values())
