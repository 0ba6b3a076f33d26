"""What the acts say of dispositions: captures past their maximum that two people let go, and how far that is.

disposition.run   {disposition, captures: [{log, seq, capture, class}], schedule, due, by, at, approval, elimination?}
disposition.stop  {disposition, by, reason, at}                       called off while its grace ran, or nothing is left
erasure.ask       {..., disposition, schedule?}  its grace is over: barred from here on, by that version of the schedule
order.place       {order, kind: erase, ...}   an order to erase (``ledger.orders``): a run under its id, due at once
order.end         {order, left, ...}          such a run goes on with what is not left, or is stopped
disposition.done  {disposition, unreadable, deleted, at, exports_gone?}
                  keys, versions, rows and text are gone, all seen; ``exports_gone``: from finished exports too
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Leaving:
    """A capture by its place, and the class that it was of when it was decided."""

    log: str
    seq: int
    id: str
    klass: str


@dataclass
class Disposition:
    """A run. ``schedule``: the version it was judged by last; ``due``: the end of its grace (RFC 3339). ``going``: what
    was still to go then; ``unreadable``: since when no backup of the keys opens any of it; ``deleted``: when the last
    object version was seen to be gone. ``positions``: of its acts in the acts log, by word."""

    id: str
    captures: tuple[Leaving, ...]
    schedule: int
    due: str
    by: str
    at: str
    approval: str
    order: bool = False
    """Whether an order of a court or authority has it go: nothing but another order keeps any of it."""
    elimination: str | None = None
    """Of public archives: the list with a visa that it goes by."""
    stopped: str | None = None
    erasure: str | None = None
    going: tuple[Leaving, ...] = ()
    unreadable: str | None = None
    deleted: str | None = None
    done: str | None = None
    exports_gone: bool = False
    """Whether no finished export was seen to hold any of it when it was done; older releases did not look."""
    positions: dict[str, int] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """``waiting`` for the end of its grace, ``stopped``, ``going``, ``done``."""
        if self.done is not None:
            return "done"
        if self.stopped is not None:
            return "stopped"
        return "waiting" if self.erasure is None else "going"


@dataclass
class Dispositions:
    """One owner's dispositions as state; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Disposition] = field(default_factory=dict)
    _of: dict[str, Disposition] = field(default_factory=dict)

    def of(self, capture: str) -> Disposition | None:
        """The run that a capture goes with, once it is barred for it."""
        return self._of.get(capture)

    def under_way(self) -> set[str]:
        """Captures of runs that wait for the end of their grace."""
        waiting = (each for each in self.known.values() if each.state == "waiting")
        return {capture.id for each in waiting for capture in each.captures}

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these; an ``erasure.ask`` of a run begins it. Raises KeyError, TypeError or
        ValueError for a malformed one."""
        word = act["act"]
        if word == "disposition.run":
            made = Disposition(
                id=str(act["disposition"]),
                captures=tuple(map(_leaving, act["captures"])),
                schedule=int(act["schedule"]),
                due=str(act["due"]),
                by=str(act["by"]),
                at=str(act["at"]),
                approval=str(act["approval"]),
                elimination=None if act.get("elimination") is None else str(act["elimination"]),
            )
            self.known[made.id] = made
        elif word == "erasure.ask" and "disposition" in act:
            self._begin(act)
        elif word == "disposition.stop":
            self.known[str(act["disposition"])].stopped = str(act["at"])
        elif word.startswith("order."):
            self._take_order(act, position)
            return False  # it is the orders' own act
        elif word == "disposition.done":
            known = self.known[str(act["disposition"])]
            known.unreadable, known.deleted = str(act["unreadable"]), str(act["deleted"])
            known.done, known.exports_gone = str(act["at"]), act.get("exports_gone") is True
        else:
            return False
        self.known[str(act["disposition"])].positions[word] = position
        return bool(word != "erasure.ask")

    def _take_order(self, act: dict[str, Any], position: int) -> None:
        word, name = act["act"], str(act.get("order"))
        if word == "order.place" and act["kind"] == "erase":
            named = tuple(_leaving(each | {"class": ""}) for each in act["captures"])
            by, at, approval = str(act["by"]), str(act["at"]), str(act["approval"])
            self.known[name] = Disposition(name, named, 0, at, by, at, approval, order=True)
            self.known[name].positions[word] = position
        elif word == "order.end" and (known := self.known.get(name)) is not None:
            left = set(map(str, act["left"]))
            known.going = tuple(each for each in known.going if each.id not in left)
            known.stopped = None if known.going else str(act["at"])
            for capture in left:  # it goes with the run that it went with before, if any
                self._of.pop(capture, None)
            for run in self.known.values():
                self._of.update((each.id, run) for each in run.going if each.id in left)

    def _begin(self, act: dict[str, Any]) -> None:
        known = self.known[str(act["disposition"])]
        named = {str(item["capture"]) for item in act["captures"]}
        known.erasure = str(act["erasure"])
        known.schedule = int(act.get("schedule", known.schedule))
        known.going = tuple(each for each in known.captures if each.id in named)
        self._of.update((each.id, known) for each in known.going)


def _leaving(item: dict[str, Any]) -> Leaving:
    return Leaving(str(item["log"]), int(item["seq"]), str(item["capture"]), str(item["class"]))
