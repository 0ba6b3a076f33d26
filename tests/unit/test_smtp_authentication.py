"""The AUTH exchange against anything a peer may send: credentials as they were given, or one refusal."""

import asyncio
import base64

from hypothesis import given
from hypothesis import strategies as st

from ingest.smtp.authentication import RESPONSE_OCTETS, credentials
from ingest.smtp.input_buffer import LineTooLong
from ingest.smtp.replies import Refused, Reply

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)


class Talk:
    """A peer that has sent these lines already."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        self.challenges: list[bytes] = []

    def answer(self, reply: Reply) -> None:
        assert reply.wire.startswith(b"334 ") and reply.wire.endswith(b"\r\n")
        self.challenges.append(base64.b64decode(reply.wire[4:-2], validate=True))

    async def next_line(self, limit: int) -> bytes:
        assert limit == RESPONSE_OCTETS
        line = self.lines.pop(0)
        if len(line) > limit:
            raise LineTooLong
        return line


def said(argument: str | None, *lines: bytes) -> tuple[str, str] | bytes:
    try:
        return asyncio.run(credentials(Talk(list(lines)), argument))
    except Refused as refused:
        return refused.reply.wire


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@given(WORDS, WORDS, st.booleans(), st.booleans())
def test_what_was_said_arrives_as_it_was(user: str, password: str, named: bool, ahead: bool) -> None:
    message = coded(f"{user if named else ''}\0{user}\0{password}")
    wire = message.encode() + b"\r\n"
    assert (said(f"PLAIN {message}") if ahead else said("plain", wire)) == (user, password)
    lines = [coded(user).encode() + b"\r\n", coded(password).encode() + b"\r\n"]
    heard = said(f"LOGIN {coded(user)}", lines[1]) if ahead else said("Login", *lines)
    assert heard == (user, password)


LINES = st.one_of(
    st.binary(max_size=60),
    st.binary(max_size=60).map(base64.b64encode),
    st.sampled_from(
        [b"*", b"=", b"", b"* ", b"A" * (RESPONSE_OCTETS - 2), b"A" * 20_000, b"AA==\r", b"AA==AA=="]
    ),
).map(lambda text: text.replace(b"\n", b"") + b"\r\n")


@given(
    st.one_of(
        st.none(), st.text(max_size=60), st.sampled_from(["PLAIN", "LOGIN", "LOGIN dXNlcg==", "PLAIN ="])
    ),
    st.lists(LINES, min_size=3, max_size=3),
)
def test_rubbish_is_one_refusal_and_never_a_fault(argument: str | None, lines: list[bytes]) -> None:
    heard = said(argument, *lines)
    if isinstance(heard, bytes):
        assert heard[:12].split()[0] in {b"500", b"501", b"504", b"535"}
    else:
        assert all(isinstance(word, str) for word in heard)


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_nobody_acts_for_another(authzid: bytes, user: bytes, password: bytes) -> None:
    heard = said("PLAIN", base64.b64encode(b"\0".join([authzid, user, password])) + b"\r\n")
    if not isinstance(heard, bytes):
        assert heard == (user.decode(), password.decode())
        assert authzid in (b"", user)


def test_a_cancelled_exchange_is_501() -> None:
    for mechanism in ("PLAIN", "LOGIN"):
        assert said(mechanism, b"*\r\n") == b"501 5.7.0 authentication cancelled\r\n"
    assert said("LOGIN", b"dQ==\r\n", b"*\r\n") == b"501 5.7.0 authentication cancelled\r\n"
