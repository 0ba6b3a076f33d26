"""When two captures carry the same message: the digest of its bytes, and the public id made of it.

The digest is SHA-256 over the inner message, normalised as follows (version 1):

- LF that does not follow CR becomes CRLF; a lone CR stays.
- Line ends at the very end are dropped, for transports add and lose them (as RFC 6376 section 3.4.3 does).
- If the message has a Message-ID that is not blank, every field named in ``TRACE_FIELDS_V1``, or beginning
  with one of ``TRACE_PREFIXES_V1``, is left out with its continuation lines, wherever it stands in the header.
  Without a Message-ID nothing is left out.

Everything else counts, byte for byte and in its order. The lists hold what transports and filters stamp on
copies of one message as they pass (RFC 5321 section 4.4, RFC 8601, RFC 8617, RFC 7208; RFC 6376 section 3.5
asks that DKIM-Signature be treated as a trace field), never what an author writes. ``Resent-*``, ``List-*``
and ``Bcc`` say something of the message and stay.

A version never changes once an archive has used it: this module reads headers by its own rules, apart from
the parser, and a longer list is a new version beside the old one.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator

from archive_service.model.errors import Invalid

IDENTITY_VERSION = 1
"""Under which new messages are recorded."""
IDENTITY_VERSIONS = (1,)
"""Under which messages are looked up, newest first."""

TRACE_FIELDS_V1 = frozenset(
    {
        # The path, and the envelope as each hop saw it.
        b"received",
        b"return-path",
        b"delivered-to",
        b"envelope-to",
        b"x-received",
        b"x-delivered-to",
        b"x-envelope-from",
        b"x-envelope-to",
        b"x-original-to",
        # What receivers found out about the sender, and signatures of hops.
        b"authentication-results",
        b"authentication-results-original",
        b"received-spf",
        b"arc-authentication-results",
        b"arc-message-signature",
        b"arc-seal",
        b"dkim-signature",
        b"domainkey-signature",
        b"x-google-dkim-signature",
        # Exchange and Exchange Online in transport.
        b"x-ms-publictraffictype",
        b"x-ms-traffictypediagnostic",
        b"x-ms-office365-filtering-correlation-id",
        b"x-originatororg",
        b"x-forefront-antispam-report",
        b"x-forefront-antispam-report-untrusted",
        # Content filters.
        b"x-virus-scanned",
        b"x-virus-status",
    }
)
TRACE_PREFIXES_V1 = (
    b"x-gm-",
    b"x-google-smtp-",
    b"x-ms-exchange-",
    b"x-microsoft-antispam",
    b"x-eop",
    b"x-spam-",
    b"x-bm-journaling-",
)

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:[^\n]*\n?(?:[ \t][^\n]*\n?)*")
_LINE = re.compile(rb"[^\n]*\n?")
_CR, _LF = 13, 10
_CHUNK = 1 << 20
_ID_DOMAIN = b"archive-service/message/v1\x00"
_ID_BYTES = 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _content_end(raw: bytes, start: int, end: int) -> int:
    """Where ``raw[start:end]`` ends without the line ends (CRLF or LF) at its very end."""
    if end > start and raw[end - 1] == _CR:
        return end  # a last CR is lone, hence content
    size, body = 1 << 12, start
    while size < end - start:
        body = end - size + len(raw[end - size : end].rstrip(b"\r\n"))
        if body > end - size:
            break
        size *= 16
    else:
        body = start + len(raw[start:end].rstrip(b"\r\n"))
    lone = raw.rfind(b"\r\r", body, end)
    return body if lone < 0 else lone + 1


def _without_last_line_ends(raw: bytes, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    while spans:
        start, end = spans[-1]
        content = _content_end(raw, start, end)
        if content > start:
            return [*spans[:-1], (start, content)]
        spans = spans[:-1]
    return spans


def _chunks(raw: bytes, start: int, end: int) -> Iterator[bytes]:
    """``raw[start:end]`` with CRLF line ends, in pieces that never part a CR from its LF."""
    while start < end:
        after = min(start + _CHUNK, end)
        while after < end and raw[after - 1] == _CR:
            after += 1
        yield raw[start:after].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        start = after


def _is_trace(name: bytes) -> bool:
    return name in TRACE_FIELDS_V1 or name.startswith(TRACE_PREFIXES_V1)


def _kept(raw: bytes, start: int, end: int) -> list[tuple[int, int]]:
    """The stretches that count: all but trace fields, or everything if there is no Message-ID."""
    kept: list[tuple[int, int]] = []
    identified = False
    position = start
    while position < end and raw[position : position + 2] != b"\r\n" and raw[position] != _LF:
        field = _FIELD.match(raw, position, end)
        if field is None:  # a line that is no field belongs to the message like any other
            line = _LINE.match(raw, position, end)
            after = line.end() if line is not None else end
        else:
            after = field.end()
        name = field.group(1).lower() if field is not None else b""
        if name == b"message-id" and field is not None:
            identified = identified or bool(raw[field.end(1) : after].partition(b":")[2].strip())
        if not _is_trace(name):
            if kept and kept[-1][1] == position:
                kept[-1] = (kept[-1][0], after)
            else:
                kept.append((position, after))
        position = after
    return [*kept, (position, end)] if identified else [(start, end)]


def identity_digest(raw: bytes, start: int, end: int, version: int = IDENTITY_VERSION) -> str:
    """SHA-256 in hex of the message ``raw[start:end]`` as this module's docstring normalises it.

    Raises Invalid for a version that is not known or offsets outside ``raw``. Linear in the size.
    """
    if version not in IDENTITY_VERSIONS:
        raise Invalid("unknown identity version")
    if not 0 <= start <= end <= len(raw):
        raise Invalid("offsets outside the message")
    digest = hashlib.sha256()
    for begin, after in _without_last_line_ends(raw, _kept(raw, start, end)):
        for chunk in _chunks(raw, begin, after):
            digest.update(chunk)
    return digest.hexdigest()


def message_id(key: bytes, digest_hex: str, version: int = IDENTITY_VERSION) -> str:
    """The public id of a message: "m" and 32 characters of lower-case base32 (RFC 4648).

    They are the first 20 bytes of HMAC-SHA256 under the tenant's ``key``, over a domain, the version as one
    byte and the digest, so that ids say nothing without the key. Raises Invalid on a short key, a malformed
    digest or an unknown version.
    """
    if not key or version not in IDENTITY_VERSIONS or _DIGEST.fullmatch(digest_hex) is None:
        raise Invalid("a message id needs a key, a SHA-256 digest and a known version")
    data = _ID_DOMAIN + bytes([version]) + bytes.fromhex(digest_hex)
    mac = hmac.new(key, data, hashlib.sha256).digest()
    return "m" + base64.b32encode(mac[:_ID_BYTES]).decode("ascii").lower().rstrip("=")
