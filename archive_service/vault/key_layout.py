"""Every name in the object store and the key store is built here, and nowhere else (FORMAT.md section 1)."""

import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from archive_service.model.errors import Invalid

_LOG_ID = re.compile(r"[0-9a-f]{20}/(?:acts|root|(?:capture|order|access|move)-[1-9][0-9]{0,5})")
_SEALED_NAME = re.compile(r"[0-9a-f]{32}-(?:0|[1-9][0-9]{0,5})")
_OWNER = re.compile(r"[0-9a-f]{20}")

BATCHES_PER_FOLDER = 100_000  # counted in entries: a folder holds at most that many batches
CHECKPOINTS_PER_FOLDER = 10_000


def new_owner() -> str:
    """A random owner id: archive, tenant or compartment alike."""
    return secrets.token_hex(10)


def is_owner(text: str) -> bool:
    """Whether it has the form of an owner id."""
    return _OWNER.fullmatch(text) is not None


def is_log(text: str) -> bool:
    """Whether it has the form of a log id."""
    return _LOG_ID.fullmatch(text) is not None


@dataclass(frozen=True, order=True)
class LogId:
    """``OWNER/KIND`` or ``OWNER/KIND-SLOT``."""

    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"

    @property
    def kind(self) -> str:
        """acts, capture, order, access, move or root."""
        return self.name.partition("-")[0]

    @staticmethod
    def parse(text: str) -> "LogId":
        """Raises Invalid."""
        if not is_log(text):
            raise Invalid("not a log id")
        owner, _, name = text.partition("/")
        return LogId(owner, name)


def new_batch(now: datetime) -> str:
    """A batch id: time-ordered, unguessable, never reused."""
    return f"{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


def sealed_name(batch: str, index: int) -> str:
    """The N-th thing sealed under the key record of ``batch``."""
    return f"{batch}-{index}"


def split_sealed_name(name: str) -> tuple[str, int]:
    """Batch id and index. Raises Invalid."""
    if not _SEALED_NAME.fullmatch(name):
        raise Invalid("not a sealed name")
    batch, _, index = name.partition("-")
    return batch, int(index)


def object_key(log: LogId, name: str) -> str:
    """Where a sealed object lies."""
    return f"{objects_prefix(log)}{name[:8]}/{name}"


def objects_prefix(log: LogId) -> str:
    """All objects of a log."""
    return f"objects/{log}/"


def log_prefix(log: LogId) -> str:
    """All ledger objects of a log."""
    return f"ledger/{log}/"


def batch_key(log: LogId, seq: int) -> str:
    """The batch whose first entry is ``seq``."""
    return f"{log_prefix(log)}batch/{seq // BATCHES_PER_FOLDER:011d}/{seq:016d}"


def checkpoint_key(log: LogId, ordinal: int) -> str:
    """The ordinal-th checkpoint of a log, counted from 0."""
    return f"{log_prefix(log)}checkpoint/{ordinal // CHECKPOINTS_PER_FOLDER:08d}/{ordinal:012d}"


def tile_index(index: int) -> str:
    """C2SP tlog-tiles: 1234067 is ``x001/x234/067``."""
    parts = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        parts.append(f"x{index % 1000:03d}")
    return "/".join(reversed(parts))


def tile_key(log: LogId, level: int, index: int) -> str:
    """A full hash tile."""
    return f"{log_prefix(log)}tile/{level}/{tile_index(index)}"


def bundle_key(log: LogId, index: int) -> str:
    """A full entry bundle: entries [256*index, 256*(index+1))."""
    return f"{log_prefix(log)}tile/entries/{tile_index(index)}"


def record_name(log: LogId, batch: str) -> str:
    """The key record of a batch."""
    return f"{log.owner}/records/{log.name}/{batch[:8]}/{batch}"


def records_prefix(owner: str) -> str:
    """All key records of an owner."""
    return f"{owner}/records/"


def generation_name(owner: str, number: int) -> str:
    """A day key."""
    return f"{owner}/generations/{number:08d}"


def table_name(owner: str, number: int) -> str:
    """A table key."""
    return f"{owner}/table/{number:08d}"


def secret_name(owner: str, name: str) -> str:
    """An owner's secret."""
    return f"{owner}/secrets/{name}"
