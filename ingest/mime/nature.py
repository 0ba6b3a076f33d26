"""What kind of message a message is, as stable words: reports, invitations, signed, encrypted."""

import re
from collections.abc import Iterator

from archive_service.model.mail import Part
from ingest.mime.body import decode_body
from ingest.mime.cms import COMPRESSED, ENCRYPTED, OTHER, SIGNED, expand, read_cms
from ingest.mime.parts import list_parts
from ingest.mime.scanner import Entity, Tree, scan
from ingest.mime.tnef import TNEF_NAME

MOST_LAYERS = 3
"""Signatures, compressions and encryptions around each other that are looked through (RFC 2634: three)."""
MOST_EXPANDED = 1 << 25
"""Bytes that compressed content of one message may expand to, all together."""

_ENCRYPTED_PGP, _ENCRYPTED_SMIME = "encrypted_pgp", "encrypted_smime"
_BY_KIND = {
    "application/pgp-encrypted": _ENCRYPTED_PGP,
    "application/pgp-signature": "signed_pgp",
    "application/pkcs7-signature": "signed_smime",
    "application/x-pkcs7-signature": "signed_smime",
    "application/x-microsoft-rpmsg-message": "rights_protected",
}
# These say something of the message that they stand in, not of one that is attached to it.
_BY_OWN_KIND = {
    "message/delivery-status": "dsn",  # RFC 3464
    "message/global-delivery-status": "dsn",  # RFC 6533
    "message/disposition-notification": "mdn",  # RFC 8098
    "message/global-disposition-notification": "mdn",
    "message/feedback-report": "arf",  # RFC 5965
    "text/calendar": "invitation",  # RFC 6047
    "application/ms-tnef": "tnef",
    "application/vnd.ms-tnef": "tnef",
}
_SMIME = frozenset(("application/pkcs7-mime", "application/x-pkcs7-mime"))
_PGP_MESSAGE = b"-----BEGIN PGP MESSAGE-----"
_NAME_END = re.compile(r"\.(p7m|pgp|gpg)\s*$", re.IGNORECASE)


class _Looked:
    """What is left to spend on looking inside."""

    def __init__(self) -> None:
        self.expansion = MOST_EXPANDED


def natures(raw: bytes, tree: Tree, parts: tuple[Part, ...]) -> tuple[str, ...]:
    """Words of ``Parsed.flags``, each once and in order: ``encrypted_smime``, ``encrypted_pgp``, ``signed_smime``,
    ``signed_pgp``, ``rights_protected``, ``dsn``, ``mdn``, ``arf``, ``invitation``, ``tnef``.

    What is encrypted or signed counts in attached messages too, and inside of opaque signatures. A word says that
    such a part is there: no signature is verified. ``parts`` are those of ``tree``. Linear in the size of ``raw``.
    """
    return tuple(sorted(set(_natures(raw, tree, parts, 0, _Looked()))))


def _natures(raw: bytes, tree: Tree, parts: tuple[Part, ...], layer: int, looked: _Looked) -> Iterator[str]:
    inside = " "  # the path of the attached message that we are in; no path at first
    for entity, part in zip(tree.root.leaves(), parts, strict=True):
        attached = entity.path.startswith(inside)
        if entity.is_message and not attached:
            inside = entity.path + "."
        kind = entity.content_type
        if kind in _BY_KIND:
            yield _BY_KIND[kind]
        elif kind in _BY_OWN_KIND:
            if not attached:
                yield _BY_OWN_KIND[kind]
        elif kind in _SMIME:
            yield from _smime(raw, entity, layer, looked)
        elif kind.startswith("text/"):
            if _has_pgp(raw, entity):
                yield _ENCRYPTED_PGP
        elif part.filename is not None and part.filename.lower() == TNEF_NAME:
            if not attached:
                yield "tnef"
        elif part.filename is not None and (found := _NAME_END.search(part.filename)) is not None:
            if found.group(1).lower() == "p7m":
                yield from _smime(raw, entity, layer, looked)
            else:
                yield _ENCRYPTED_PGP


def _has_pgp(raw: bytes, entity: Entity) -> bool:
    """Whether a text holds a PGP message (RFC 9580 section 6.2), at whichever place."""
    if entity.encoding in ("base64", "uuencode"):
        return _PGP_MESSAGE in bytes(decode_body(raw, entity.body, entity.end, entity.encoding))
    return raw.find(_PGP_MESSAGE, entity.body, entity.end) >= 0


def _smime(raw: bytes, entity: Entity, layer: int, looked: _Looked) -> Iterator[str]:
    cms = read_cms(bytes(decode_body(raw, entity.body, entity.end, entity.encoding)))
    said = entity.media.parameters.get("smime-type", "").strip().lower()
    if cms.kind == ENCRYPTED or (cms.kind == OTHER and said.endswith("enveloped-data")):
        yield _ENCRYPTED_SMIME
    elif cms.kind == SIGNED:
        yield "signed_smime"
    content = opened(cms.kind, cms.content, looked.expansion)[0]
    if cms.kind == COMPRESSED:
        looked.expansion -= len(content)
    if content and layer < MOST_LAYERS:
        tree = scan(content, 0, len(content))
        yield from _natures(content, tree, list_parts(content, tree), layer + 1, looked)


def opened(kind: str, content: bytes | None, most: int) -> tuple[bytes, bool]:
    """The MIME entity inside, expanded to at most ``most`` bytes if it is compressed; and whether that is all of it."""
    if content is None or kind not in (SIGNED, COMPRESSED):
        return b"", True
    if kind == COMPRESSED:
        return expand(content, most) if most > 0 else (b"", False)
    return content, True
