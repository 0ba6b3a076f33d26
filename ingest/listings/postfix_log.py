"""Postfix's log: ``cleanup`` names the Message-ID of every mail that enters the queue."""

import re
from collections.abc import Iterator

_CLEANUP = re.compile(r"/cleanup\[\d+\]: [0-9A-Za-z]+: message-id=(<[^>]*>|\S+)")
"""``resent-message-id=`` stands in lines of its own, and is another field (RFC 5322 section 3.6.6)."""


def read(lines: Iterator[str]) -> Iterator[str]:
    """Lines of other programs, and mails without a Message-ID (``message-id=<>``), say nothing here."""
    for line in lines:
        found = _CLEANUP.search(line)
        if found is not None:
            yield found[1]
