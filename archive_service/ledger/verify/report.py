"""What verify says."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """``damage``: not as the ledger says. ``note``: unfinished or not yet anchored, as after a crash."""

    DAMAGE = "damage"
    NOTE = "note"


class What(StrEnum):
    """What does not fit."""

    OBJECT = "object"
    ENTRY = "entry"
    CHAIN = "chain"
    BATCH = "batch"
    ROOT = "root"
    CHECKPOINT = "checkpoint"
    TILE = "tile"
    KEY = "key"
    LOCK = "lock"
    PAYLOAD = "payload"
    ORDER = "order"
    ORPHAN = "orphan"
    ROW = "row"
    INDEX = "index"
    STORE = "store"


@dataclass(frozen=True)
class Problem:
    """One thing that does not fit. ``name``: the object, key record or row; ``seq``: the entry."""

    severity: Severity
    what: What
    detail: str
    log: str | None = None
    seq: int | None = None
    name: str | None = None

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        fields = {"severity": str(self.severity), "what": str(self.what), "detail": self.detail}
        optional = {"log": self.log, "seq": self.seq, "name": self.name}
        return {**fields, **{key: value for key, value in optional.items() if value is not None}}

    def line(self) -> str:
        """One line for a terminal."""
        where = " ".join(
            part
            for part in (
                f"log={self.log}" if self.log else "",
                f"seq={self.seq}" if self.seq is not None else "",
                f"name={self.name}" if self.name else "",
            )
            if part
        )
        return f"{self.severity}: {self.what} {where}: {self.detail}"


@dataclass
class Tally:
    """What has been checked. ``unsigned``: entries behind their log's newest checkpoint, which only the chain and
    what other logs say of them vouch for. ``erased``: captures whose key an erasure batch destroyed."""

    logs: int = 0
    entries: int = 0
    checkpoints: int = 0
    tiles: int = 0
    objects: int = 0
    payloads: int = 0
    keys: int = 0
    locks: int = 0
    rows: int = 0
    not_sampled: int = 0
    unsigned: int = 0
    erased: int = 0


@dataclass
class Report:
    """Collects problems; ``progress`` is called now and then with the tally."""

    progress: Callable[[Tally], None] | None = None
    tally: Tally = field(default_factory=Tally)
    problems: list[Problem] = field(default_factory=list)

    def damage(self, what: What, detail: str, **where: Any) -> None:
        """Something is not as the ledger says."""
        self.problems.append(Problem(Severity.DAMAGE, what, detail, **where))

    def note(self, what: What, detail: str, **where: Any) -> None:
        """Something is unfinished."""
        self.problems.append(Problem(Severity.NOTE, what, detail, **where))

    def step(self) -> None:
        """Show progress."""
        if self.progress is not None:
            self.progress(self.tally)

    @property
    def clean(self) -> bool:
        """No damage."""
        return all(problem.severity is not Severity.DAMAGE for problem in self.problems)
