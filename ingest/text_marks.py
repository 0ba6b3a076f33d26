"""What the mail itself says to the text conditions of retention rules. Runs where hostile bytes are read."""

from collections.abc import Iterable, Sequence

from archive_service.model.mail import Parsed, Text
from archive_service.model.schedule import TextCondition, words
from ingest.mime.headers import decode_value
from ingest.mime.scanner import scan_headers


def marks_of(
    raw: bytes, parsed: Parsed, text: Text, conditions: Sequence[TextCondition]
) -> list[bool | None]:
    """For each condition whether the mail fulfils it. None: not as far as it could be read, and that was not to its
    end. ``raw``: the capture; ``text``: what was extracted of it."""
    names = (part.filename or "" for part in parsed.parts if part.attachment)
    anywhere = _words_of((parsed.subject, text.body, text.attachments, *names))
    fields = scan_headers(raw, parsed.inner_start, parsed.inner_end).fields
    missing = False if text.not_fully_indexed is None else None
    return [
        (anywhere.issuperset(each.words) or missing) if each.field is None else _in_field(fields, each)
        for each in conditions
    ]


def _in_field(fields: Sequence[tuple[str, bytes]], condition: TextCondition) -> bool:
    """Whether one field of the name has all the words (RFC 5322 section 2.2: names know no case)."""
    values = (value for name, value in fields if name == condition.field)
    return any(_words_of([decode_value(value)]).issuperset(condition.words) for value in values)


def _words_of(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(word for text in texts for word in words(text))
