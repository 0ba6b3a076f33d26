"""Reading mail for the retention rules that ask for its words: what decides its class is noted in the catalog.

The active follower does this, before it makes locks as long as the class asks; whoever else judges a capture goes by
what is noted, and takes one that was not read for the class that lasts longest among those it may be of.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.catalog.mark_seals import marks_of, sealed_marks
from archive_service.catalog.vouching import vouched
from archive_service.ledger.acts import Acts
from archive_service.ledger.payloads import PayloadVault, open_capture
from archive_service.model.errors import KeyUnavailable, NotFound, Tampered
from archive_service.model.mail import Parsed
from archive_service.model.schedule import Schedule, TextCondition
from archive_service.terms.retaining import custodians_of
from archive_service.vault.key_layout import LogId
from retention.schedule.facts import facts_of
from retention.schedule.rules import unread_of

_log = logging.getLogger(__name__)


class ReadsText(Protocol):
    """Reads hostile bytes somewhere safe; never raises for what a mail contains."""

    def marks(self, raw: bytes, parsed: Parsed, conditions: Sequence[TextCondition]) -> list[bool | None]:
        """For each condition whether the mail fulfils it; None: that cannot be told."""
        ...


@dataclass(frozen=True)
class Classifier:
    """One owner's. Not thread-safe."""

    vault: PayloadVault
    acts: Acts
    catalog: Catalog
    reads: ReadsText

    def __call__(self, capture: CaptureRow, schedule: Schedule) -> CaptureRow:
        """The capture with all that decides its class noted, durably; as it is where nothing is missing, or where it
        cannot be read (``verify`` names it). Raises StoreError, ParseFailed: what is not noted can be read again."""
        if not schedule.reads_text():
            return capture
        facts = facts_of(capture.finding, marks_of(self.vault.keyring, capture))
        wanted = sorted(unread_of(schedule, facts, custodians_of(self.acts)), key=lambda each: each.key)
        if not wanted:
            return capture
        try:
            entry = vouched(self.vault, capture)
            log = LogId.parse(capture.log)
            opened = open_capture(self.vault.store, self.vault.keyring, log, entry.fields)
        except (Tampered, KeyUnavailable, NotFound) as error:
            _log.warning("a capture cannot be read for its class: %s", error.code)
            return capture
        said = self.reads.marks(opened.raw, capture.finding.parsed, wanted)
        read = {each.key: holds for each, holds in zip(wanted, said, strict=True)}
        noted = sealed_marks(self.vault.keyring, capture.id, read)
        self.catalog.mark(capture.id, noted)
        return replace(capture, marks={**capture.marks, **noted})
