"""What a schedule would do to what is archived now, held against what the one in force does. Nothing is changed."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.catalog.mark_seals import marks_of
from archive_service.ledger.acts import Acts
from archive_service.model.schedule import Schedule, TextCondition
from retention.schedule.facts import Facts, facts_of
from retention.schedule.rules import unread_of
from retention.schedule.terms import Assessment, Events, assess
from search.indexes.base import SearchIndex
from search.query_language import And, Node, Text

_RULELESS = "(default)"
_PAGE = 1000


class AskedWords:
    """What the search index says to conditions on words that no mail was read for yet. It knows no header fields, and
    of mail that is not fully indexed only what was read."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = index
        self._found: dict[str, frozenset[str]] = {}

    def of(self, message: str, conditions: Iterable[TextCondition]) -> dict[str, bool]:
        """By their keys, those that it can say. Raises StoreError."""
        return {each.key: message in self._having(each) for each in conditions if each.field is None}

    def _having(self, condition: TextCondition) -> frozenset[str]:
        """The messages that have all of its words."""
        known = self._found.get(condition.key)
        if known is None:
            words = tuple(Text(word) for word in condition.words)
            known = self._found[condition.key] = frozenset(
                self._all(words[0] if len(words) == 1 else And(words))
            )
        return known

    def _all(self, node: Node) -> Iterable[str]:
        below: int | None = None
        while hits := self._index.search(node, limit=_PAGE, below=below, snippets=False).hits:
            yield from (hit.id for hit in hits)
            below = hits[-1].rank


class Trial:
    """Counts what a schedule would take, beside what the one in force takes."""

    def __init__(self, acts: Acts, schedule: Schedule, events: Events, asked: AskedWords, now: str) -> None:
        self._schedule = schedule
        self._before = acts.schedules.in_force(now)
        self._events = events
        self._asked = asked
        self._reviews = acts.reviews
        self._keyring = acts.vault.keyring
        self._now = now
        self._kinds = {source.id: str(source.kind) for source in acts.sources()}
        self._barred = acts.erasures.barred
        self._taken: Counter[tuple[str, str]] = Counter()
        self._bytes: Counter[tuple[str, str]] = Counter()
        self._of_kind: Counter[tuple[tuple[str, str], str]] = Counter()
        self._moves: Counter[tuple[str, str]] = Counter()
        self._times: Counter[str] = Counter()

    def over(self, catalog: Catalog) -> dict[str, Any]:
        """The counts."""
        total = 0
        for row in catalog.changed(0, catalog.position().rows):
            for capture in row.captures:
                if not self._barred(capture.id):
                    self._count(capture)
                    total += 1
        return {
            "captures": total,
            "rules": self._rules(),
            "compared_with": None if self._before is None else self._before.number,
            "moves": [{"from": a, "to": b, "captures": n} for (a, b), n in sorted(self._moves.items())],
            "kept_longer": self._times["longer"],
            "kept_shorter": self._times["shorter"],
            "minimum_longer": self._times["minimum longer"],
            "minimum_shorter": self._times["minimum shorter"],
            "past_maximum": self._times["past"],
            "by_hand": self._times["by_hand"],
            "undecided": self._times["undecided"],
        }

    def _count(self, capture: CaptureRow) -> None:
        facts, found = self._judged(self._schedule, capture)
        self._times["by_hand"] += found.by_hand
        self._times["undecided"] += found.undecided
        if not found.by_hand:
            key = (found.rule or _RULELESS, found.klass.id)
            self._taken[key] += 1
            self._bytes[key] += facts.size
            self._of_kind[key, self._kinds.get(capture.finding.source, "unknown")] += 1
        self._times["past"] += found.past(self._now)
        if self._before is None:
            return
        _, before = self._judged(self._before.schedule, capture)
        if before.klass.id != found.klass.id:
            self._moves[before.klass.id, found.klass.id] += 1
        self._times["longer"] += found.dispose_after > before.dispose_after
        self._times["shorter"] += found.dispose_after < before.dispose_after
        least, least_before = found.keep_until or "", before.keep_until or ""
        self._times["minimum longer"] += least > least_before
        self._times["minimum shorter"] += least < least_before

    def _judged(self, schedule: Schedule, capture: CaptureRow) -> tuple[Facts, Assessment]:
        by_hand = self._reviews.by_hand(capture.id, schedule)
        extended = self._reviews.until.get(capture.id, "")
        known = marks_of(self._keyring, capture)
        facts = facts_of(capture.finding, known)
        unread = unread_of(schedule, facts, self._events.custodians)
        if unread:
            said = self._asked.of(capture.finding.message, unread)
            facts = facts_of(capture.finding, {**known, **said})
        return facts, assess(schedule, facts, self._events, by_hand, extended)

    def _rules(self) -> list[dict[str, Any]]:
        """Every rule as it is asked, the default last, also those that take nothing."""
        rules = [(rule.id, rule.klass) for rule in self._schedule.in_order()]
        return [
            {
                "rule": None if key[0] == _RULELESS else key[0],
                "class": key[1],
                "captures": self._taken[key],
                "bytes": self._bytes[key],
                "kinds": self._kinds_of(key, self._of_kind.items()),
            }
            for key in [*rules, (_RULELESS, self._schedule.default)]
        ]

    @staticmethod
    def _kinds_of(
        key: tuple[str, str], counted: Iterable[tuple[tuple[tuple[str, str], str], int]]
    ) -> dict[str, int]:
        return {kind: number for (of, kind), number in sorted(counted) if of == key}
