"""When two captures carry the same message: the digest of its bytes, and the public id made of it.

The digest is SHA-256 over the inner message, normalised as follows (version 1):

- LF that does not follow CR becomes CRLF; a lone CR stays.
- If the message has a Message-ID that is not blank, then

  - every field named in ``TRACE_FIELDS_V1``, or beginning with one of ``TRACE_PREFIXES_V1``, is left out of the
    header with its continuation lines, and
  - line ends at the very end are dropped, for transports add and lose them (as RFC 6376 section 3.4.3 does).

  Without a Message-ID nothing is left out: all inner bytes count.

The header is what no reader of mail can take for the body: it ends before an empty line (CRs and LF), before a
line that is no field (RFC 5322 section 2.2: a name, a colon at once, a value) and before a field that holds a
lone CR, another control character or a continuation line of white space alone, which some readers take for the
header's end. A mailbox ``From `` line before it is passed over, if
it holds nothing of that kind. So the header never reaches beyond where the
parser's does, and from there on every byte counts. A header of more than ``MAX_HEADER_BYTES`` (line ends
counted as CRLF) or ``MAX_HEADER_LINES`` is not examined: then all inner bytes count, as if there were no
Message-ID.

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

MAX_HEADER_BYTES = 1 << 20
MAX_HEADER_LINES = 10_000

_FIELD = re.compile(rb"([!-9;-~]++):([^\n]*+(?:\n[ \t][^\n]*+)*+)\n?")
_ODD = re.compile(rb"\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f]|\n[ \t]++(?:\r?\n|\Z)")
_MAILBOX_LINES = (b"From ", b">From ")
_CR, _LF = 13, 10
_CHUNK = 1 << 20
_CRLF_THROUGHOUT = re.compile(rb"(?:[^\n]*+\n(?<=\r\n))*+[^\n]*+")
_ID_DOMAIN = b"archive-service/message/v1\x00"
_ID_BYTES = 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _content_end(raw: bytes, start: int, end: int) -> int:
    """Where ``raw[start:end]`` ends without the line ends (CRLF or LF) at its very end."""
    if end > start and raw[end - 1] == _CR:
        return end  # a last CR is lone, hence content
    body = end
    while body > start:
        before = max(start, body - _CHUNK)
        content = len(raw[before:body].rstrip(b"\r\n"))
        body = before + content
        if content:
            break
    lone = raw.rfind(b"\r\r", body, end)
    return body if lone < 0 else lone + 1


def _chunks(raw: bytes, start: int, end: int) -> Iterator[bytes]:
    """``raw[start:end]`` with CRLF line ends, in bounded pieces that never part a CR from its LF."""
    while start < end:
        after = min(start + _CHUNK, end)
        if after < end and raw[after - 1] == _CR and raw[after] == _LF:
            after += 1
        piece = raw[start:after]
        if _CRLF_THROUGHOUT.fullmatch(piece) is None:  # most mail has
            piece = piece.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        yield piece
        start = after


def _is_trace(name: bytes) -> bool:
    return name in TRACE_FIELDS_V1 or name.startswith(TRACE_PREFIXES_V1)


def _header(raw: bytes, start: int, end: int) -> tuple[bytes, int] | None:
    """What counts of the header, and where it ends; None if there is no Message-ID or it is too large."""
    window = min(end, start + MAX_HEADER_BYTES + 1)
    position = start
    if raw.startswith(_MAILBOX_LINES, start, end):
        position = raw.find(b"\n", start, window) + 1 or window
        if _ODD.search(raw[start:position]) is not None:
            return None
    kept = [raw[start:position]]
    size, lines, identified = position - start, 1, False
    while position < window:
        found = _FIELD.match(raw, position, window)
        if found is None:
            break
        field, name = found.group(), found.group(1).lower()
        ends = field.count(b"\n")
        size += len(field) + ends - field.count(b"\r\n")
        lines += ends
        if size > MAX_HEADER_BYTES or lines > MAX_HEADER_LINES:
            return None
        if _ODD.search(field) is not None:
            break
        identified = identified or (name == b"message-id" and bool(found.group(2).strip()))
        if not _is_trace(name):
            kept.append(field)
        position = found.end()
    return (b"".join(kept), position) if identified else None


def whole_digest(raw: bytes, start: int, end: int) -> str:
    """SHA-256 in hex of all of ``raw[start:end]``, line ends as CRLF; nothing is read, nothing left out.

    Linear in the size, in bounded memory.
    """
    digest = hashlib.sha256()
    for chunk in _chunks(raw, start, end):
        digest.update(chunk)
    return digest.hexdigest()


def identity_digest(raw: bytes, start: int, end: int, version: int = IDENTITY_VERSION) -> str:
    """SHA-256 in hex of the message ``raw[start:end]`` as this module's docstring normalises it.

    Raises Invalid for a version that is not known or offsets outside ``raw``. Linear in the size, in
    bounded memory: the header up to its bound and pieces of the rest.
    """
    if version not in IDENTITY_VERSIONS:
        raise Invalid("unknown identity version")
    if not 0 <= start <= end <= len(raw):
        raise Invalid("offsets outside the message")
    header = _header(raw, start, end)
    if header is None:
        return whole_digest(raw, start, end)
    kept, body = header
    content = _content_end(raw, body, end)
    digest = hashlib.sha256()
    for chunk in _chunks(kept, 0, len(kept) if content > body else _content_end(kept, 0, len(kept))):
        digest.update(chunk)
    for chunk in _chunks(raw, body, content):
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
