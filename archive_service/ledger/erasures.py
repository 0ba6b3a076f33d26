"""What the acts say of forgetting and keeping: replayed from the acts log, like everything that somebody decided.

erasure.ask    {erasure, ground, basis, by, captures: [{log, seq, capture}]}   barred from every read at once
capture.withdraw {erasure, of: {log, seq, capture}, by}   the same for one that was never to be here, or is elsewhere
erasure.begin  {batch, captures: [id], generations: [n], tables: [n], kms: [PROVIDER/VERSION]}   they are about to go
erasure.done   {batch, destroy_after}                                          gone from both places, seen
erasure.kms    {batch, at}                                                     so is the key version behind them
erasure.delete   {captures: [id], at}    objects of these, which no disposition took, may be gone from here on
erasure.deleted  {captures: [id], at}    they are
keep.place     {keep, ground, basis, by, until: TIME or null, since?: TIME, captures: [id]}
keep.lift      {keep, by}
stray.take     {capture, held, kept: [{until, since?, article}], ...}   its hold and minimum moved along with it
order.end      {order, erasure?, left: [id], free: [{log, seq, capture}], ...}   what an order to erase has left: as
                 before it, or, ``free``, shown again (before ``free`` was written: kept and barred)
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from archive_service.ledger.holds import Holds
from archive_service.ledger.strays import held_name, kept_name
from archive_service.model.errors import Invalid, Tampered
from archive_service.model.grounds import EraseGround, KeepGround
from archive_service.vault.key_layout import LogId


@dataclass(frozen=True)
class Asked:
    """A capture that is to be forgotten. ``position``: the acts-log entry that says so."""

    log: LogId
    seq: int
    capture: str
    ground: EraseGround
    erasure: str
    position: int


@dataclass(frozen=True)
class Keep:
    """A reason to keep captures; ``until`` (RFC 3339) for a minimum, ``since`` for one of a schedule to come."""

    ground: KeepGround
    captures: frozenset[str]
    until: str | None
    since: str = ""

    def stands(self, now: str) -> bool:
        """Whether it is in force at ``now`` (RFC 3339)."""
        return self.since <= now and (self.until is None or self.until > now)


@dataclass
class Batch:
    """An erasure batch. ``destroy_after``: None until the keys are gone from both places. ``kms``: the key versions
    that backups of them still need. ``destroyed_at``: when those went too. ``positions``: of its acts in the acts log,
    by word."""

    id: str
    captures: tuple[str, ...]
    generations: tuple[int, ...]
    tables: tuple[int, ...]
    kms: tuple[str, ...]
    destroy_after: str | None = None
    destroyed_at: str | None = None
    positions: dict[str, int] = field(default_factory=dict)


@dataclass
class Erasures:
    """One owner's acts as state. Written by ``Acts`` under its lock; a look from elsewhere is one dictionary read.
    ``holds``: counted among the reasons to keep."""

    holds: Holds = field(default_factory=Holds)
    asked: dict[str, Asked] = field(default_factory=dict)
    erasures: set[str] = field(default_factory=set)
    keeps: dict[str, Keep] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    deleting: dict[str, str] = field(default_factory=dict)
    """Captures whose objects may be gone by right, erased on request or withdrawn, and since when (RFC 3339)."""
    deleted: dict[str, str] = field(default_factory=dict)
    """When each of these was seen to be gone (RFC 3339)."""
    last: int = -1
    """The acts-log position of the last act that barred anything."""
    _begun: set[str] = field(default_factory=set)
    _upon: dict[str, dict[str, Keep]] = field(default_factory=dict)
    """By capture, what keeps it."""
    left: set[str] = field(default_factory=set)
    """Captures of orders to erase that were ended before ``free`` was written: kept, and that no read shows."""
    _before: dict[str, list[Asked]] = field(default_factory=dict)
    """What was asked of a capture before an order to erase it, the last at the end."""

    def barred(self, capture: str) -> bool:
        """Whether no read may show it any more."""
        return capture in self.asked

    @property
    def withdrawn(self) -> int:
        """How many captures were never to be here, or lie elsewhere now: one count for both."""
        return sum(map(self.withdrew, self.asked))

    def withdrew(self, capture: str) -> bool:
        """Whether a capture is one of these."""
        asked = self.asked.get(capture)
        return asked is not None and asked.ground is EraseGround.EXCLUSION

    def begun(self, capture: str) -> bool:
        """Whether its key may be gone by right."""
        return capture in self._begun

    def gone(self) -> set[str]:
        """Captures whose keys are gone from both places."""
        return {
            name
            for batch in self.batches.values()
            if batch.destroy_after is not None
            for name in batch.captures
        }

    def tables(self, *, finished: bool = False) -> set[int]:
        """Table keys that batches, or only ``finished`` ones, have retired."""
        return {number for batch in self._of(finished=finished) for number in batch.tables}

    def generations(self, *, finished: bool = False) -> set[int]:
        """Generations that batches, or only ``finished`` ones, take away."""
        return {number for batch in self._of(finished=finished) for number in batch.generations}

    def unfinished(self) -> list[Batch]:
        """Batches that were begun, and whose keys are not seen to be gone."""
        return [batch for batch in self.batches.values() if batch.destroy_after is None]

    def _of(self, *, finished: bool) -> list[Batch]:
        return [batch for batch in self.batches.values() if not finished or batch.destroy_after is not None]

    def pending(self) -> list[Asked]:
        """Asked for, and not in a finished batch."""
        gone = self.gone()
        return [asked for name, asked in self.asked.items() if name not in gone]

    def keeps_of(self, capture: str, now: str) -> list[KeepGround]:
        """Every ground in force at ``now`` (RFC 3339) to keep a capture; a hold of a matter is one as a keep is."""
        keeps = [keep.ground for keep in self.keeps_upon(capture, now)]
        keeps += [KeepGround.ORDER] * (capture in self.left)
        return keeps + [
            KeepGround.ORDER if hold.order else KeepGround.HOLD for hold in self.holds.holds_of(capture)
        ]

    def kept_until(self, capture: str, now: str) -> str | None:
        """The latest end of what keeps a capture at ``now`` (RFC 3339) for a legal minimum by an act; None without."""
        ends = (keep.until for keep in self.keeps_upon(capture, now) if keep.until is not None)
        return max(ends, default=None)

    def keeps_upon(self, capture: str, now: str) -> list[Keep]:
        """The keeps in force at ``now`` (RFC 3339) that name a capture; holds of matters aside."""
        return [keep for keep in self.keeps_named(capture) if keep.stands(now)]

    def keeps_named(self, capture: str) -> list[Keep]:
        """As ``keeps_upon``, those that are over or to come too."""
        return list(self._upon.get(capture, {}).values())

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        word = act["act"]
        if word == "erasure.ask":
            self.last = position
            self.erasures.add(str(act["erasure"]))
            for asked in asked_of(act, position):
                self._ask(asked)
        elif word == "capture.withdraw":
            self.last = position
            self.erasures.add(str(act["erasure"]))
            (asked,) = asked_of(act, position)
            self.asked.setdefault(asked.capture, asked)
        elif word == "erasure.begin":
            batch = Batch(
                str(act["batch"]),
                tuple(map(str, act["captures"])),
                tuple(map(int, act["generations"])),
                tuple(map(int, act["tables"])),
                tuple(map(str, act["kms"])),
            )
            self.batches[batch.id] = batch
            batch.positions[word] = position
            self._begun.update(batch.captures)
        elif word == "erasure.done":
            batch = self.batches[str(act["batch"])]
            batch.destroy_after = str(act["destroy_after"])
            batch.positions[word] = position
        elif word == "erasure.kms":
            self.batches[str(act["batch"])].destroyed_at = str(act["at"])
        elif word == "erasure.delete":
            self.deleting.update(dict.fromkeys(map(str, act["captures"]), str(act["at"])))
        elif word == "erasure.deleted":
            self.deleted.update(dict.fromkeys(map(str, act["captures"]), str(act["at"])))
        elif word == "keep.place":
            until = None if act["until"] is None else str(act["until"])
            captures = frozenset(map(str, act["captures"]))
            ground, since = KeepGround(act["ground"]), str(act.get("since", ""))
            self._place(str(act["keep"]), Keep(ground, captures, until, since))
        elif word == "keep.lift":
            name = str(act["keep"])
            lifted = self.keeps.pop(name, None)
            for capture in () if lifted is None else lifted.captures:
                self._upon[capture].pop(name, None)
        elif word == "stray.take":
            self._carry(str(act["capture"]), act)
            return False  # it is the strays' own act
        elif word == "order.end":
            if act.get("erasure") is not None:
                free = {each.capture for each in freed_of(act)}
                self._end_order(str(act["erasure"]), list(map(str, act["left"])), free, position)
            return False  # it is the orders' own act
        else:
            return False
        return True

    def _carry(self, capture: str, act: dict[str, Any]) -> None:
        only = frozenset([capture])
        if act["held"]:
            self._place(held_name(capture), Keep(KeepGround.HOLD, only, None))
        for kept in act["kept"]:
            until, since = str(kept["until"]), str(kept.get("since", ""))
            minimum = Keep(KeepGround.MINIMUM, only, until, since)
            self._place(kept_name(capture, until, since), minimum)

    def _place(self, name: str, keep: Keep) -> None:
        self.keeps[name] = keep
        for capture in keep.captures:
            self._upon.setdefault(capture, {})[name] = keep

    def _ask(self, asked: Asked) -> None:
        """The first to ask counts, but an order comes before all, and before what an ended one has left."""
        known = self.asked.get(asked.capture)
        if asked.ground is not EraseGround.ORDER or known is None:
            self.asked.setdefault(asked.capture, asked)
        elif not self.begun(asked.capture):
            if asked.capture not in self.left:  # else what is known is an order that was ended
                self._before.setdefault(asked.capture, []).append(known)
            self.asked[asked.capture] = asked
            self.left.discard(asked.capture)

    def lapses(self, capture: str, erasure: str) -> bool:
        """Whether nobody asks for a capture to be forgotten once the order that asked for it as ``erasure`` is over."""
        return self.asked[capture].erasure == erasure and not self._before.get(capture)

    def _end_order(self, erasure: str, left: list[str], free: set[str], position: int) -> None:
        """What was asked for before counts again, from here on: holds that came meanwhile are to be held against it.
        Where nothing was, it is as if the order had not been."""
        for capture in left:
            before = self._before.get(capture, [])
            if self.asked[capture].erasure != erasure:
                before[:] = [each for each in before if each.erasure != erasure]
            elif before:
                self.asked[capture] = replace(before.pop(), position=position)
            elif capture in free:
                del self.asked[capture]
            else:
                self.left.add(capture)


def freed_of(act: dict[str, Any]) -> Iterator[Asked]:
    """The captures of an ``order.end`` that reads may show again. Raises Tampered."""
    named = {"captures": act.get("free", ()), "ground": EraseGround.ORDER, "erasure": act.get("erasure")}
    yield from asked_of({"act": "erasure.ask", **named}, -1)


def asked_of(act: dict[str, Any], position: int) -> Iterator[Asked]:
    """The captures of an ``erasure.ask`` or ``capture.withdraw``. Raises Tampered."""
    try:
        withdrawn = act["act"] == "capture.withdraw"
        ground = EraseGround.EXCLUSION if withdrawn else EraseGround(act["ground"])
        erasure = str(act["erasure"])
        for item in [act["of"]] if withdrawn else act["captures"]:
            yield Asked(
                LogId.parse(str(item["log"])),
                int(item["seq"]),
                str(item["capture"]),
                ground,
                erasure,
                position,
            )
    except (KeyError, TypeError, ValueError, Invalid) as error:
        raise Tampered("an act that does not follow its format") from error
