"""The leaves of a scanned message as ``Part`` records: offsets, names, and digests of the decoded bytes."""

import hashlib
import re

from archive_service.model.mail import Part
from ingest.mime.body import decode_body
from ingest.mime.headers import parse_media
from ingest.mime.scanner import Entity, Tree

_LONGEST_NAME = 1000
_WORD = re.compile(r"[a-z0-9._+-]{1,40}")
_CHARSET = re.compile(r"[A-Za-z0-9._:+-]{1,60}")
# Machine-readable parts of a report: what it says, not what somebody attached (RFC 6522).
_REPORT_PARTS = frozenset(
    (
        "message/delivery-status",
        "message/disposition-notification",
        "message/feedback-report",
        "message/global-delivery-status",
        "message/global-disposition-notification",
        "message/global-headers",
    )
)


def list_parts(raw: bytes, tree: Tree) -> tuple[Part, ...]:
    """Every leaf of ``tree`` in order. A message/rfc822 part is listed and then the leaves inside it."""
    return tuple(_part(raw, entity) for entity in tree.root.leaves())


def _part(raw: bytes, entity: Entity) -> Part:
    value = entity.headers.first("content-disposition")
    disposition, name = None, ""
    if value is not None:
        media = parse_media(value)
        word = _WORD.match(media.value)
        disposition = word.group() if word is not None else None
        name = media.parameters.get("filename", "")
    name = (name or entity.media.parameters.get("name", "")).strip()[:_LONGEST_NAME]
    charset = _CHARSET.match(entity.media.parameters.get("charset", "").strip("\"' "))
    decoded = decode_body(raw, entity.body, entity.end, entity.encoding)
    return Part(
        path=entity.path,
        content_type=entity.content_type,
        charset=charset.group().lower() if charset is not None else None,
        encoding=entity.encoding,
        disposition=disposition,
        filename=name or None,
        start=entity.body,
        end=entity.end,
        size=len(decoded),
        sha256=hashlib.sha256(decoded).hexdigest(),
        attachment=_is_attachment(entity, disposition, name),
    )


def _is_attachment(entity: Entity, disposition: str | None, name: str) -> bool:
    """Whatever is not the text that a reader sees first: named, marked, or of a kind that is no text."""
    if disposition == "attachment" or name or entity.is_message:
        return True
    return (
        not entity.content_type.startswith(("text/", "multipart/"))
        and entity.content_type not in _REPORT_PARTS
    )
