"""Cryptographic Message Syntax (RFC 5652) as S/MIME sends it (RFC 8551): its kind, and what a signed one holds.

Read by its BER framing alone: nothing is verified or decrypted here, and a signature that does not hold hides
no word. Certificates and signatures are not looked at. Linear in the size of the data; never raises.
"""

import zlib
from dataclasses import dataclass

SIGNED, ENCRYPTED, COMPRESSED, OTHER = "signed", "encrypted", "compressed", "other"

_PKCS7 = bytes.fromhex("2a864886f70d0107")  # 1.2.840.113549.1.7
_SMIME = bytes.fromhex("2a864886f70d01091001")  # 1.2.840.113549.1.9.16.1
_KINDS = {
    _PKCS7 + b"\x02": SIGNED,
    _PKCS7 + b"\x03": ENCRYPTED,  # enveloped
    _PKCS7 + b"\x06": ENCRYPTED,
    _SMIME + b"\x17": ENCRYPTED,  # authenticated and enveloped (RFC 5083)
    _SMIME + b"\x09": COMPRESSED,  # RFC 3274
}
_INTEGER, _OCTETS, _OBJECT, _SEQUENCE, _SET = 0x02, 0x04, 0x06, 0x30, 0x31
_CONTEXT_0, _OCTETS_IN_PIECES = 0xA0, 0x24
_INDEFINITE = 0x80


@dataclass(frozen=True, slots=True)
class Cms:
    """``content`` is what stands inside (of a compressed one: still compressed); None when nothing does (a
    detached signature, certificates alone) or it cannot be read. ``complete``: it was there to its end."""

    kind: str
    content: bytes | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class _Element:
    """A BER element: where its content begins and ends. ``end`` is None for an indefinite length."""

    tag: int
    start: int
    end: int | None


def _element(data: bytes, at: int) -> _Element | None:
    """The element at ``at``; None when there is none. An end beyond the data stays where it claims to be."""
    if at + 2 > len(data) or data[at] & 0x1F == 0x1F:  # tags of many bytes do not occur in CMS
        return None
    length = data[at + 1]
    if length < _INDEFINITE:
        return _Element(data[at], at + 2, at + 2 + length)
    if length == _INDEFINITE:
        return _Element(data[at], at + 2, None)
    start = at + 2 + (length & 0x7F)
    if length & 0x7F > 8 or start > len(data):
        return None
    return _Element(data[at], start, start + int.from_bytes(data[at + 2 : start], "big"))


def _after(data: bytes, element: _Element) -> int | None:
    """Where the element after this one begins."""
    if element.end is not None:
        return element.end
    at, depth = element.start, 1  # indefinite lengths that are open
    while (inner := _element(data, at)) is not None:
        if inner.end is None:
            depth += 1
            at = inner.start
            continue
        at = inner.end
        if inner.tag == 0 and inner.end == inner.start:
            depth -= 1
            if depth == 0:
                return at
    return None


def _enter(data: bytes, at: int | None, tag: int) -> int | None:
    """Where the content of the element at ``at`` begins, if it is of this tag."""
    element = _element(data, at) if at is not None else None
    return element.start if element is not None and element.tag == tag else None


def _pass(data: bytes, at: int | None, *tags: int) -> int | None:
    """Behind the element at ``at``, if it is of one of these tags."""
    element = _element(data, at) if at is not None else None
    return _after(data, element) if element is not None and element.tag in tags else None


def _octets(data: bytes, at: int) -> tuple[bytes, bool] | None:
    """An octet string, whole or in pieces however they are nested, and whether its end was there."""
    outer = _element(data, at)
    if outer is None or outer.tag not in (_OCTETS, _OCTETS_IN_PIECES):
        return None
    if outer.tag == _OCTETS:
        return _octet_piece(data, outer)
    pieces: list[bytes] = []
    at, depth = outer.start, int(outer.end is None)
    while depth or (outer.end is not None and at < outer.end):
        inner = _element(data, at)
        if inner is None:
            return b"".join(pieces), False
        at = inner.start
        if inner.tag == _OCTETS_IN_PIECES:
            depth += inner.end is None
        elif inner.tag == _OCTETS:
            piece, whole = _octet_piece(data, inner)
            pieces.append(piece)
            if not whole:
                return b"".join(pieces), False
            at += len(piece)
        elif inner.tag == 0 and inner.end == inner.start:
            depth -= 1
        else:
            return b"".join(pieces), False
    return b"".join(pieces), True


def _octet_piece(data: bytes, element: _Element) -> tuple[bytes, bool]:
    piece = data[element.start : element.end]
    return piece, element.end is not None and element.end <= len(data)


def read_cms(data: bytes) -> Cms:
    """The kind of a ContentInfo (RFC 5652 section 3) and the content of a signed or compressed one."""
    start = _enter(data, 0, _SEQUENCE)
    found = _element(data, start) if start is not None else None
    if found is None or found.tag != _OBJECT or found.end is None:
        return Cms(OTHER)
    kind = _KINDS.get(data[found.start : found.end], OTHER)
    if kind not in (SIGNED, COMPRESSED):
        return Cms(kind)
    at = _enter(data, _enter(data, found.end, _CONTEXT_0), _SEQUENCE)
    at = _pass(data, _pass(data, at, _INTEGER), _SET, _SEQUENCE)  # version, algorithms
    at = _pass(data, _enter(data, at, _SEQUENCE), _OBJECT)
    at = _enter(data, at, _CONTEXT_0)
    octets = _octets(data, at) if at is not None else None
    return Cms(kind, *octets) if octets is not None else Cms(kind)


def expand(content: bytes, most: int) -> tuple[bytes, bool]:
    """The content of a compressed one (zlib, RFC 3274), at most ``most`` bytes, and whether that is all of it."""
    work = zlib.decompressobj()
    try:
        out = work.decompress(content, most)
    except zlib.error:
        return b"", False
    return out, work.eof
