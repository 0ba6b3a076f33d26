"""Two captures of one message are one message; two messages are never one."""

import base64
import hashlib
import hmac
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.errors import Invalid
from ingest.identity import (
    IDENTITY_VERSION,
    IDENTITY_VERSIONS,
    MAX_HEADER_BYTES,
    MAX_HEADER_LINES,
    TRACE_FIELDS_V1,
    TRACE_PREFIXES_V1,
    identity_digest,
    message_id,
    whole_digest,
)
from ingest.mime.scanner import scan_headers

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
        digest(mail(["Received: a", *fields])) == hashlib.sha256(mail(["Received: a", *fields])).hexdigest()
    )


PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r\r\n",
        b" \r\n",
        b"Hi, at noon?\r\n",
        b"X-Spam-Note: none\r\n",
        b"Received : x\n",
        b"Subject: s\r\n",
        b" folded\r\n",
        b"To: a\r\rb\r\n",
        b"From a@example.fr\n",
    ]
)


def normal(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").rstrip(b"\n")


@given(st.lists(PIECES, max_size=8), st.sampled_from([b"", b"From a@example.fr\n"]), st.data())
@settings(max_examples=400)
def test_from_the_parsers_body_on_every_byte_counts(
    pieces: list[bytes], first: bytes, data: st.DataObject
) -> None:
    raw = first + b"Message-ID: <1>\r\n" + b"".join(pieces) + b"X-Spam-Note: last\r\nend"
    body = scan_headers(raw, 0, len(raw)).end
    if body == len(raw):
        return
    place = data.draw(st.integers(body, len(raw) - 1))
    changed = raw[:place] + bytes([data.draw(st.integers(0, 255))]) + raw[place + 1 :]
    assert (digest(changed) == digest(raw)) == (normal(changed) == normal(raw))


@pytest.mark.parametrize(
    "end",
    [
        "\r\r\nHi, lunch at noon?\r\n",
        "Hi, lunch at noon?\r\nto it\r\n",
        "Hi?\r\nSubject: s\r\n",
        " \r\n",
        "To: x\r\n \r\n",
        "To: x\r\r\r\n",
        "To: x\ry\r\n",
        "Received: x\r\n\t\r\n",
        "To : x\r\n",
        "To: \x00\r\n",
    ],
)
def test_no_mail_hides_behind_another(end: str) -> None:
    """Lines with the names of trace fields count after whatever some reader may take for the header's end."""
    one, other = (mail([*FIXED, end + f"X-Spam-Note: {note}", "", "Bye"]) for note in ("none", "the bribe"))
    assert digest(one) != digest(other)


def test_empty_mails_without_a_message_id_differ() -> None:
    mails = [b"", b"\r\n", b"\r\n\r\n", b"\r\n" * 300_000, b"\r", b"From: a\r\n", b"From: a\r\n\r\n"]
    assert len({digest(raw) for raw in mails}) == len(mails)
    assert digest(b"\n" * 300_000) == digest(b"\r\n" * 300_000)


@pytest.mark.parametrize(
    "padding",
    [
        b"X-Spam-Note: x\r\n" * MAX_HEADER_LINES,
        b"X-Spam-Note: x\n" + b" y\n" * MAX_HEADER_LINES,
        b"X-Spam-Note: " + b"x" * MAX_HEADER_BYTES + b"\r\n",
        b"a: " + b"x" * 1000 + b"\r\n" + (b"X-Spam-Note: " + b"x" * 1000 + b"\r\n") * 1100,
    ],
)
def test_a_header_beyond_its_bounds_counts_whole(padding: bytes) -> None:
    raw = b"Message-ID: <1>\r\n" + padding + b"\r\nbody\r\n"
    assert digest(raw) == digest(raw.replace(b"\r\n", b"\n")) == whole_digest(raw, 0, len(raw))
    assert digest(raw) != digest(raw.replace(b"Spam-Note: x", b"Spam-Note: y"))


def test_a_header_within_its_bounds_is_examined() -> None:
    fields = b"X-Spam-Note: x\r\n" * (MAX_HEADER_LINES - 2)
    assert digest(b"Message-ID: <1>\r\n" + fields + b"\r\nbody") == digest(b"Message-ID: <1>\n\nbody")


@pytest.mark.parametrize("unit", [b"a:\nx-gm-:\n", b"\r", b"\n", b"\r\n", b" ", b"a", b"\r\r\n"])
def test_memory_is_bounded_whatever_comes(unit: bytes) -> None:
    raw = b"Message-ID: <1>\n\nx" + unit * (8_000_000 // len(unit))
    heads = b"Message-ID: <1>\n" + unit * (8_000_000 // len(unit))
    tracemalloc.start()
    try:
        digest(raw)
        digest(heads)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 7_000_000  # a few pieces, never the message


@given(st.binary(max_size=60))
@settings(max_examples=100)
def test_all_bytes_with_crlf(data: bytes) -> None:
    wanted = hashlib.sha256(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")).hexdigest()
    assert whole_digest(data, 0, len(data)) == wanted


@given(st.text(alphabet="ab\r\n:; ", max_size=60))
@settings(max_examples=300)
def test_line_ends_make_no_difference(text: str) -> None:
    raw = b"Message-ID: <1>\r\nSubject: s\r\n" + text.encode()
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
    raw = b"Received: x\r\n y\r\nMessage-Id: <1>\nDKIM-Signature: z\r\nSubject: s\r\n\r\nbody\nX-Spam-Note: b\n\n"
    wanted = hashlib.sha256(
        b"Message-Id: <1>\r\nSubject: s\r\n\r\nbody\r\nX-Spam-Note: b",
    ).hexdigest()
    assert wanted == "2ba6c38ec86214bd2dfec88d088f47da495d04357f365d13cfe585fc30d44eb4"
    assert digest(raw) == wanted
    assert (
        hashlib.sha256(b"\n".join([*sorted(TRACE_FIELDS_V1), *TRACE_PREFIXES_V1])).hexdigest()
        == "5a04597544044c5e52c493d0fbe8d6f196e478b12d9e076cc14b502e94f2f20a"
    )
