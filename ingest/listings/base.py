"""Which format a listing has, and what it lists."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from archive_service.model.errors import Invalid
from ingest.listings import id_lines, postfix_log, tables

FORMATS: Mapping[str, Callable[[Iterator[str]], Iterator[str]]] = {
    "ids": id_lines.read,
    "postfix": postfix_log.read,
    "csv": tables.read,
}
_SAMPLE = 64 * 1024  # characters that are looked at to tell the format
_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}


@dataclass(frozen=True)
class Listing:
    """``ids``: distinct Message-IDs without their angle brackets (RFC 5322 section 3.6.4), in the order of the listing;
    ``repeated``: how often one came that had been there."""

    format: str
    ids: tuple[str, ...]
    repeated: int


def bare(message_id: str) -> str:
    """A Message-ID as it is compared: without brackets and the blanks around it. Its letters are not folded."""
    text = message_id.strip()
    return text[1:-1].strip() if text.startswith("<") and text.endswith(">") else text


def read_listing(path: Path, kind: str | None = None) -> Listing:
    """Every Message-ID of a file; ``kind`` is told from its first lines unless given. Raises Invalid
    (``listing.unreadable``, ``listing.format``, ``listing.empty``)."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8")
        with path.open(encoding=encoding, errors="surrogateescape", newline="") as text:
            chosen = kind or _told(text.read(_SAMPLE))
            text.seek(0)
            found = [bare(each) for each in FORMATS[chosen](text)]
    except (OSError, UnicodeError) as error:
        raise Invalid("the listing cannot be read", code="listing.unreadable") from error
    ids = tuple(dict.fromkeys(each for each in found if each))
    if not ids:
        raise Invalid(
            f"no Message-ID in the listing, read as {chosen}: is it of another format?", code="listing.empty"
        )
    return Listing(chosen, ids, len(found) - len(ids))


def _told(sample: str) -> str:
    lines = iter(sample.splitlines(keepends=True))
    if tables.column(sample.splitlines()) is not None:
        return "csv"
    if any(True for _ in postfix_log.read(lines)):
        return "postfix"
    return "ids"
