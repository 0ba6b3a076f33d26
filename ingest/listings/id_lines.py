"""One Message-ID a line, as scripts and mailbox tools write them; empty lines and lines that begin with ``#`` are
none."""

from collections.abc import Iterator

from archive_service.model.errors import Invalid


def read(lines: Iterator[str]) -> Iterator[str]:
    """Raises Invalid (``listing.format``) for a line that cannot be a Message-ID: the listing has another format, and
    must not pass for mail that is missing."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if any(letter.isspace() for letter in text.strip("<>").strip()):
            raise Invalid(f"line {number} of the listing is not a Message-ID", code="listing.format")
        yield text
