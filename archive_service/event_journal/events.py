"""Which entries of the logs are events of the archive's life, and what the journal says of each.

deposit        capture (an entry of a capture log)
access         search, message.view, message.raw, message.proof, capture.raw, export.request  (access logs)
class_change   schedule.set, retention.relabel, retention.extend                              (acts)
migration      archive.moved, archive.arrived (acts), moved                                   (an entry of a move log)
restitution    export.make, export.download, handover.make                                    (access logs)
destruction    erasure.ask, erasure.done, erasure.kms, erasure.deleted, disposition.done, capture.withdraw   (acts)

An entry is one event or none. A refusal is no access: it stands in the access log. Of a withdrawn capture it is said
that one was, and nothing else: an excluded one and one that lies elsewhere now read the same.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from archive_service.ledger.entry import Entry
from archive_service.ledger.moves import moves_of
from archive_service.model.errors import Tampered
from archive_service.model.grounds import EraseGround
from archive_service.vault.key_layout import LogId

_ID = re.compile(r"(acts|(?:capture|access|move)-[1-9][0-9]{0,5})-(0|[1-9][0-9]{0,14})")


class Kind(StrEnum):
    """What happened, in the norm's words."""

    DEPOSIT = "deposit"
    ACCESS = "access"
    CLASS_CHANGE = "class_change"
    MIGRATION = "migration"
    RESTITUTION = "restitution"
    DESTRUCTION = "destruction"


@dataclass(frozen=True)
class Event:
    """An event by its entry. ``what``: the word of the log; ``facts``: JSON-ready, without a person; ``who``: who
    looked, and at what, for those who may read the access log."""

    kind: Kind
    what: str
    log: LogId
    entry: Entry
    facts: Mapping[str, Any]
    who: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """The place of its entry among the tenant's logs: it stays through a rebuild and through a move."""
        return f"{self.log.name}-{self.entry.seq}"


def place_of(event_id: str) -> tuple[str, int] | None:
    """The log's name and the seq that an event's id names; None when it cannot be one."""
    match = _ID.fullmatch(event_id)
    return None if match is None else (match.group(1), int(match.group(2)))


Open = Callable[[LogId, Entry], dict[str, Any]]
"""The payload of an entry. Raises Tampered, KeyUnavailable."""

_LOGS: Mapping[Kind, frozenset[str]] = {
    Kind.DEPOSIT: frozenset({"capture"}),
    Kind.ACCESS: frozenset({"access"}),
    Kind.CLASS_CHANGE: frozenset({"acts"}),
    Kind.MIGRATION: frozenset({"acts", "move"}),
    Kind.RESTITUTION: frozenset({"access"}),
    Kind.DESTRUCTION: frozenset({"acts"}),
}

LOOKS: Mapping[str, Kind] = dict.fromkeys(
    ("search", "message.view", "message.raw", "message.proof", "capture.raw", "export.request"), Kind.ACCESS
) | dict.fromkeys(("export.make", "export.download", "handover.make"), Kind.RESTITUTION)


def log_kinds(kinds: frozenset[Kind]) -> frozenset[str]:
    """The kinds of logs in which events of these kinds stand."""
    return frozenset().union(*(_LOGS[kind] for kind in kinds))


def event_of(log: LogId, entry: Entry, opened: Open) -> Event | None:
    """The event that an entry is, or None. Raises Tampered for one that does not follow its format."""
    try:
        if entry.type == "capture":
            return Event(Kind.DEPOSIT, "capture", log, entry, _deposit(entry.fields))
        if entry.type == "access":
            return _look(log, entry, opened(log, entry))
        if entry.type == "moved":
            objects = sum(1 for _ in moves_of(entry))
            return Event(Kind.MIGRATION, "moved", log, entry, {"objects": objects})
        if entry.type == "act":
            return _act(log, entry, opened(log, entry))
    except (KeyError, TypeError, ValueError) as error:
        raise Tampered("an entry that does not follow its format") from error
    return None


def _deposit(fields: Mapping[str, Any]) -> dict[str, Any]:
    stored = fields["object"]
    return {
        "capture": str(fields["capture"]),
        "object": {name: stored[name] for name in ("key", "size", "sha256", "sha512")},
        "commit": str(fields["commit"]),
        "lock_until": fields["lock_until"],
        "lock_mode": fields["lock_mode"],
        "recovered": fields.get("recovered") is True,
    }


def _look(log: LogId, entry: Entry, said: Mapping[str, Any]) -> Event | None:
    what = str(said["action"])
    kind = LOOKS.get(what)
    if kind is None or said.get("outcome", "shown") != "shown":
        return None
    ids = [str(each) for each in said.get("ids", ())]
    facts = {"role": str(said["role"]), "items": len(ids)}
    return Event(kind, what, log, entry, facts, {"actor": str(said["actor"]), "ids": ids})


def _act(log: LogId, entry: Entry, act: Mapping[str, Any]) -> Event | None:
    what = str(act["act"])
    if what not in ACTS:
        return None
    kind, facts = ACTS[what]
    return Event(kind, what, log, entry, facts(act))


_Facts = Callable[[Mapping[str, Any]], dict[str, Any]]


def _asked(act: Mapping[str, Any]) -> dict[str, Any]:
    ground = EraseGround(act["ground"])
    said = {} if ground is EraseGround.EXCLUSION else {"ground": str(ground), "erasure": str(act["erasure"])}
    return {"captures": len(act["captures"]), **said}


ACTS: Mapping[str, tuple[Kind, _Facts]] = {
    "schedule.set": (
        Kind.CLASS_CHANGE,
        lambda act: {"schedule_version": int(act["number"]), "effective_from": str(act["effective_from"])},
    ),
    "retention.relabel": (
        Kind.CLASS_CHANGE,
        lambda act: {
            "captures": len(act["captures"]),
            "class": str(act["class"]),
            "approval": act["approval"],
        },
    ),
    "retention.extend": (
        Kind.CLASS_CHANGE,
        lambda act: {"captures": len(act["captures"]), "until": str(act["until"])},
    ),
    "archive.moved": (Kind.MIGRATION, lambda act: {}),
    "archive.arrived": (Kind.MIGRATION, lambda act: {}),
    "erasure.ask": (Kind.DESTRUCTION, _asked),
    "erasure.done": (
        Kind.DESTRUCTION,
        lambda act: {"batch": str(act["batch"]), "key_version_goes_after": str(act["destroy_after"])},
    ),
    "erasure.kms": (
        Kind.DESTRUCTION,
        lambda act: {"batch": str(act["batch"]), "unreadable_since": str(act["at"])},
    ),
    "erasure.deleted": (Kind.DESTRUCTION, lambda act: {"captures": len(act["captures"])}),
    "disposition.done": (
        Kind.DESTRUCTION,
        lambda act: {
            "disposition": str(act["disposition"]),
            "unreadable_since": str(act["unreadable"]),
            "deleted_at": str(act["deleted"]),
        },
    ),
    "capture.withdraw": (Kind.DESTRUCTION, lambda act: {"captures": 1}),
}
