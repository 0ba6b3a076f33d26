"""Two captures of one message are one message; two messages are never one."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.errors import Invalid
from ingest.identity import (
    IDENTITY_VERSION,
    IDENTITY_VERSIONS,
    TRACE_FIELDS_V1,
    TRACE_PREFIXES_V1,
    identity_digest,
    message_id,
)

FIXED = ["From: a@example.fr", "Message-ID: <1@example.fr>", "Subject: un\r\n deux", "X-Dept: achats"]
BODY = "Bonjour,\r\n\r\nFacture jointe.\r\n"


def mail(fields: list[str], body: str = BODY) -> bytes:
    return ("\r\n".join([*fields, "", body])).encode("utf-8")


def digest(raw: bytes) -> str:
    return identity_digest(raw, 0, len(raw))


BASE = digest(mail(FIXED))

TRACE = st.builds(
    lambda name, value, fold: f"{name}: {value}" + (f"\r\n\t{fold}" if fold else ""),
    st.sampled_from(
        [
            *sorted(name.decode().title() for name in TRACE_FIELDS_V1),
            *(prefix.decode() + "zone" for prefix in TRACE_PREFIXES_V1),
            "RECEIVED",
        ]
    ),
    st.text(alphabet="abc ;=.<>@:", max_size=12),
    st.text(alphabet="xyz", max_size=5),
)


@given(st.lists(st.tuples(st.integers(0, len(FIXED)), TRACE), max_size=6))
@settings(max_examples=150)
def test_trace_fields_come_and_go(added: list[tuple[int, str]]) -> None:
    fields = list(FIXED)
    for place, line in added:
        fields.insert(place, line)
    assert digest(mail(fields)) == BASE


@given(st.lists(TRACE, max_size=4), st.booleans())
@settings(max_examples=80)
def test_a_message_that_is_all_header_loses_its_trace_too(added: list[str], ended: bool) -> None:
    raw = "\r\n".join([*FIXED, *added]).encode() + (b"\r\n\r\n" if ended else b"")
    assert digest(raw) == digest("\r\n".join(FIXED).encode())


@given(st.integers(0, len(mail(FIXED)) - 1), st.integers(0, 255))
@settings(max_examples=300)
def test_any_other_byte_counts(place: int, value: int) -> None:
    raw = mail(FIXED)
    changed = raw[:place] + bytes([value]) + raw[place + 1 :]
    normal = [text.replace(b"\r\n", b"\n").rstrip(b"\n") for text in (raw, changed)]
    assert (digest(changed) == BASE) == (normal[0] == normal[1])


@pytest.mark.parametrize(
    "fields",
    [
        FIXED[:-1],
        [*FIXED, "Bcc: b@example.fr"],
        [*FIXED, "Resent-From: b@example.fr"],
        [*FIXED, "List-Id: x"],
        [*FIXED, "Receivedx: y"],
        list(reversed(FIXED)),
        [FIXED[0], "Message-ID: <2@example.fr>", *FIXED[2:]],
    ],
)
def test_what_an_author_writes_counts(fields: list[str]) -> None:
    assert digest(mail(fields)) != BASE


def test_a_message_id_alone_never_decides() -> None:
    assert digest(mail(FIXED, "Un autre texte.\r\n")) != BASE


def test_trace_names_in_the_body_count() -> None:
    assert digest(mail(FIXED, "Received: x\r\n" + BODY)) != BASE


@pytest.mark.parametrize("line", ["Message-ID:", "Message-ID:   ", "Message-Idx: <1>", "X-Message-ID: <1>"])
def test_without_a_message_id_every_byte_counts(line: str) -> None:
    fields = [FIXED[0], line, FIXED[2]]
    assert digest(mail(["Received: a", *fields])) != digest(mail(["Received: b", *fields]))
    assert (
        digest(mail(["Received: a", *fields]))
        == hashlib.sha256(mail(["Received: a", *fields]).rstrip(b"\r\n")).hexdigest()
    )


@given(st.text(alphabet="ab\r\n:; ", max_size=60))
@settings(max_examples=300)
def test_line_ends_make_no_difference(text: str) -> None:
    raw = b"Message-ID: <1>\r\n" + text.encode()
    lf = raw.replace(b"\r\n", b"\n")
    # Whatever stood between them, the same text with every line end as CRLF, and some more at its end, is the same.
    crlf = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if b"\r" not in lf:
        assert digest(lf) == digest(crlf)
        assert digest(lf + b"\n\n") == digest(crlf) == digest(crlf + b"\r\n")
    assert digest(crlf) == digest(raw)


@pytest.mark.parametrize("tail", [b"\r", b"\r\r\n", b" \r\n", b"\x00"])
def test_only_line_ends_are_dropped_at_the_end(tail: bytes) -> None:
    assert digest(mail(FIXED) + tail) != BASE


def test_large_messages_are_read_in_pieces() -> None:
    """Lone CRs and CRLFs fall on every side of the pieces' borders."""
    body = b"".join(b"x" * n + b"\r\n" + b"y\r\r\n" for n in range(1000, 2600))
    assert len(body) > 2 << 20
    head = b"Message-ID: <1>\r\n\r\n"
    wanted = hashlib.sha256((head + body)[:-2]).hexdigest()
    assert digest(head + body) == wanted
    assert digest(head + body + b"\r\n" * 5000) == wanted


def test_offsets_select_the_message() -> None:
    raw = b"before" + mail(FIXED) + b"after"
    assert identity_digest(raw, 6, len(raw) - 5) == BASE


@pytest.mark.parametrize(
    ("start", "end", "version"), [(-1, 2, 1), (2, 1, 1), (0, 99, 1), (0, 2, 0), (0, 2, 2)]
)
def test_senseless_input_is_refused(start: int, end: int, version: int) -> None:
    with pytest.raises(Invalid):
        identity_digest(b"abc", start, end, version)


def test_an_id_is_keyed_and_versioned() -> None:
    key = bytes(range(32))
    found = message_id(key, BASE, 1)
    mac = hmac.new(key, b"archive-service/message/v1\x00\x01" + bytes.fromhex(BASE), hashlib.sha256).digest()
    assert found == "m" + base64.b32encode(mac[:20]).decode().lower()
    assert len(found) == 33
    assert message_id(bytes(32), BASE, 1) != found
    assert IDENTITY_VERSIONS[0] == IDENTITY_VERSION


@pytest.mark.parametrize(
    ("key", "value", "version"),
    [
        (b"", "a" * 64, 1),
        (b"k" * 32, "a" * 63, 1),
        (b"k" * 32, "A" * 64, 1),
        (b"k" * 32, "a" * 64, 9),
    ],
)
def test_an_id_of_nonsense_is_refused(key: bytes, value: str, version: int) -> None:
    with pytest.raises(Invalid):
        message_id(key, value, version)


def test_version_one_is_frozen() -> None:
    """Recorded ids hang on this digest: if it changes, archives split their messages in two."""
    raw = b"Received: x\r\n y\r\nMessage-Id : <1>\nDKIM-Signature: z\r\nSubject: s\r\n\r\nbody\n\n"
    wanted = hashlib.sha256(b"Message-Id : <1>\r\nSubject: s\r\n\r\nbody").hexdigest()
    assert digest(raw) == wanted
    assert (
        hashlib.sha256(b"\n".join([*sorted(TRACE_FIELDS_V1), *TRACE_PREFIXES_V1])).hexdigest()
        == "5a04597544044c5e52c493d0fbe8d6f196e478b12d9e076cc14b502e94f2f20a"
    )
