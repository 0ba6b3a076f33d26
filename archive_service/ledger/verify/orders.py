"""Logs against each other: what the order log says was taken, what entries say of the acts that they had seen.

A log that was cut back below what another log has seen of it is named here even when no checkpoint covered the part
that is gone; and so is a capture that the order log passed over, for search would never find it.
"""

import hashlib
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from archive_service.ledger import evidence
from archive_service.ledger.entry import Entry
from archive_service.ledger.erasures import Erasures
from archive_service.ledger.verify.looking import grown_to
from archive_service.ledger.verify.report import Report, Severity, What
from archive_service.ledger.verify.walk import LogFacts
from archive_service.model.errors import Invalid
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore

_UNREAD, _FOUND = 1, 2
_FARTHEST_GAP = 1_000_000  # entries: a stray batch far out must not cost memory


@dataclass
class _Captures:
    """One capture log: a fingerprint of the capture at each seq (0: none that can be read), and what the order log says
    of it: nothing, ``_UNREAD`` or ``_FOUND``. Nine bytes an entry."""

    marks: "array[int]" = field(default_factory=lambda: array("Q"))
    found: bytearray = field(default_factory=bytearray)

    def add(self, seq: int, mark: int) -> None:
        missing = seq - len(self.marks)
        if 0 <= missing < _FARTHEST_GAP:
            self.marks.extend([0] * missing + [mark])
            self.found.extend(bytes(missing + 1))


@dataclass
class _Seen:
    """The farthest that other logs say of a log: its size must be at least this."""

    size: int
    by: LogId
    seq: int


class Orders:
    """One owner. Takes the entries of all its logs, capture logs and acts before the order log. ``erasures``: a capture
    whose key was destroyed need not have been found before."""

    def __init__(self, store: ObjectStore, report: Report, owner: str, erasures: Erasures) -> None:
        self._erasures = erasures
        self._store = store
        self._report = report
        self._acts = LogId(owner, "acts")
        self._captures: dict[LogId, _Captures] = {}
        self._seen: dict[LogId, _Seen] = {}

    def take(self, log: LogId, entry: Entry) -> None:
        """One entry of any of the owner's logs."""
        try:
            if log.kind == "capture":
                capture = str(entry.fields["capture"]) if entry.type == "capture" else ""
                mark = _mark(capture) if capture and not self._erasures.begun(capture) else 0
                self._captures.setdefault(log, _Captures()).add(entry.seq, mark)
            elif entry.type in {"finding", evidence.TYPE}:
                self._finding(log, entry)
            elif entry.type == "took":
                self._took(log, entry)
            if "acts_seen" in entry.fields:
                self._saw(self._acts, int(entry.fields["acts_seen"]), log, entry.seq)
        except (KeyError, TypeError, ValueError, Invalid):
            detail = "an entry that does not say what it is about"
            self._report.damage(What.ORDER, detail, log=str(log), seq=entry.seq)

    def _saw(self, of: LogId, size: int, by: LogId, seq: int) -> None:
        if of not in self._seen or self._seen[of].size < size:
            self._seen[of] = _Seen(size, by, seq)

    def _took(self, log: LogId, entry: Entry) -> None:
        of, start, end = _range(entry.fields["of"])
        self._saw(of, end, log, entry.seq)
        known = self._captures.get(of, _Captures())
        if entry.fields.get("unread") is True and 0 <= start < len(known.found):
            known.found[start] = known.found[start] or _UNREAD

    def _finding(self, log: LogId, entry: Entry) -> None:
        of, seq = LogId.parse(str(entry.fields["of"]["log"])), int(entry.fields["of"]["seq"])
        self._saw(of, seq + 1, log, entry.seq)
        known = self._captures.get(of, _Captures())
        if not 0 <= seq < len(known.marks) or not known.marks[seq]:
            return  # since grown, or damaged and named
        if known.marks[seq] != _mark(str(entry.fields["capture"])):
            detail = f"{entry.type} of another capture than stands at {of} {seq}"
            self._report.damage(What.ORDER, detail, log=str(log), seq=entry.seq)
        elif entry.type == "finding":
            known.found[seq] = _FOUND

    def compare(self, facts: Mapping[str, LogFacts]) -> None:
        """After all of the owner's logs were walked."""
        for log, seen in sorted(self._seen.items()):
            size = facts[str(log)].size if str(log) in facts else 0
            if seen.size > size and grown_to(self._store, log, size, seen.size) < seen.size:
                detail = f"the log ends at {size}; entry {seen.seq} of {seen.by} had seen {seen.size}: it was cut back"
                self._report.damage(What.ORDER, detail, log=str(log), seq=size)
        damaged = {(p.log, p.seq) for p in self._report.problems if p.severity is Severity.DAMAGE}
        for log, seq, unread in self._passed_over():
            if (str(log), seq) in damaged:
                continue
            if unread:
                detail = "a capture that could not be opened when it was taken: it waits to be tried again"
                self._report.note(What.ORDER, detail, log=str(log), seq=seq)
            else:
                detail = "a capture was taken into the order without a finding: no search will find it"
                self._report.damage(What.ORDER, detail, log=str(log), seq=seq)

    def _passed_over(self) -> Iterator[tuple[LogId, int, bool]]:
        for log, known in sorted(self._captures.items()):
            end = self._seen[log].size if log in self._seen else 0
            for seq in range(min(end, len(known.marks))):
                if known.marks[seq] and known.found[seq] != _FOUND:
                    yield log, seq, known.found[seq] == _UNREAD


def _mark(capture: str) -> int:
    return int.from_bytes(hashlib.sha256(capture.encode()).digest()[:8], "big") | 1


def _range(of: dict[str, Any]) -> tuple[LogId, int, int]:
    return LogId.parse(str(of["log"])), int(of["from"]), int(of["to"])
