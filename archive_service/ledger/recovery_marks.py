"""How far recovery has looked, so that the next look reads only what is new. Disposable: without it everything is read
again."""

import json
import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from archive_service.ledger.entry import GENESIS
from archive_service.vault.key_layout import LogId

_log = logging.getLogger(__name__)


@dataclass
class LogMark:
    """One log. Entries below ``seq`` are read (``prev``: the digest of the last); every object whose key is up to
    ``settled`` is named by an entry or stands in ``unusable`` (capture: why); ``named``: captures beyond it that
    entries below ``seq`` name. ``since``: when the reading began at the log's beginning (RFC 3339)."""

    since: str
    seq: int = 0
    prev: str = GENESIS
    settled: str = ""
    named: set[str] = field(default_factory=set)
    unusable: dict[str, str] = field(default_factory=dict)


class Marks(Protocol):
    """Where marks are kept."""

    def get(self, log: LogId) -> LogMark | None:
        """The log's mark, or None: then it is read from its beginning."""
        ...

    def put(self, log: LogId, mark: LogMark) -> None:
        """Keep a mark."""
        ...


class MemoryMarks:
    """Forgotten with the process."""

    def __init__(self) -> None:
        self._marks: dict[LogId, LogMark] = {}

    def get(self, log: LogId) -> LogMark | None:
        """As in Marks."""
        return self._marks.get(log)

    def put(self, log: LogId, mark: LogMark) -> None:
        """As in Marks."""
        self._marks[log] = mark


class FileMarks:
    """A file a log in a folder. Not synced: a mark that a crash takes away costs time, one that is damaged or of
    another form counts as none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, log: LogId) -> Path:
        return self._folder / f"{log.owner}.{log.name}.json"

    def get(self, log: LogId) -> LogMark | None:
        """As in Marks."""
        try:
            return _parsed(json.loads(self._path(log).read_bytes()))
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return None

    def put(self, log: LogId, mark: LogMark) -> None:
        """As in Marks; one that cannot be written is told in the log, and the next run looks at more."""
        path = self._path(log)
        half = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            half.write_text(json.dumps({**asdict(mark), "named": sorted(mark.named)}), "utf-8")
            half.replace(path)
        except OSError as error:
            _log.warning("how far recovery has looked cannot be kept: %s", error.strerror)


def _parsed(value: dict[str, Any]) -> LogMark | None:
    mark = LogMark(**value)
    texts = [mark.since, mark.prev, mark.settled, *mark.named, *mark.unusable, *mark.unusable.values()]
    if type(mark.seq) is not int or not all(isinstance(text, str) for text in texts):
        return None
    mark.named = set(mark.named)
    return mark
