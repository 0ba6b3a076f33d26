"""What must survive a restart of who evaluates alarms: which are on, which notices wait for which channel, and what
growing metrics stood at. One small file in the work folder; losing it means that what is on is told once more."""

import json
import logging
import os
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from archive_service.alarms.notices import Notice

_log = logging.getLogger(__name__)
_MOST_WAITING = 200  # notices a channel; then the oldest goes: the newest say how things stand


def state_path(work: Path) -> Path:
    """Where the state of a work folder's alarms lies."""
    return work / "run" / "alarms.json"


@dataclass
class Standing:
    """An alarm that is on. ``since``, ``told``: seconds since 1970; ``quiet``: runs in which its cause was not seen;
    ``series``: those that were told, where each is news."""

    since: float
    told: float
    quiet: int = 0
    series: list[str] = field(default_factory=list)


@dataclass
class Growing:
    """A growing metric: what each series stood at, and when it rose by how much."""

    last: dict[str, float] = field(default_factory=dict)
    rises: list[tuple[float, float]] = field(default_factory=list)


class Memory:
    """The state, in memory and in its file. ``standing`` and ``growth`` belong to the one evaluator, and are written
    with what it tells, never without; the waiting notices are thread-safe, for each channel takes its own."""

    def __init__(self, path: Path, channels: Iterable[str] = ()) -> None:
        """Reads the file, if there is one; what cannot be read is logged and begun anew."""
        self._path = path
        self._lock = threading.Lock()
        self.standing: dict[str, Standing] = {}
        self._growing: dict[str, Growing] = {}
        self._waiting: dict[str, list[Notice]] = {}
        try:
            self._take(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _log.warning("the state of the alarms cannot be read: %s; begun anew", type(error).__name__)
            self.standing, self._growing, self._waiting = {}, {}, {}
        self._waiting = {name: self._waiting.get(name, []) for name in channels}
        self._judged = self._judgement()

    def _take(self, plain: Any) -> None:
        for name, each in plain["standing"].items():
            series = [str(one) for one in each.get("series", [])]
            standing = Standing(float(each["since"]), float(each["told"]), int(each["quiet"]), series)
            self.standing[str(name)] = standing
        for name, each in plain["growing"].items():
            last = {str(key): float(value) for key, value in each["last"].items()}
            self._growing[str(name)] = Growing(last, [(float(at), float(by)) for at, by in each["rises"]])
        for name, notices in plain["waiting"].items():
            self._waiting[str(name)] = [Notice.parse(each) for each in notices]

    def growth(self, name: str) -> Growing:
        """What is remembered for a condition."""
        return self._growing.setdefault(name, Growing())

    def keep(self, alarms: set[str]) -> None:
        """Forget alarms that are in no catalogue any more."""
        self.standing = {name: each for name, each in self.standing.items() if name in alarms}
        self._growing = {
            name: each for name, each in self._growing.items() if name.partition("/")[0] in alarms
        }

    def post(self, notices: list[Notice]) -> None:
        """Let every channel have these; in the file on return, if it can be written."""
        with self._lock:
            self._judged = self._judgement()
            for name, waiting in self._waiting.items():
                waiting.extend(notices)
                if len(waiting) > _MOST_WAITING:
                    _log.warning("channel %s: %d notices dropped", name, len(waiting) - _MOST_WAITING)
                    del waiting[:-_MOST_WAITING]
            self._save()

    def first(self, channel: str) -> Notice | None:
        """What the channel is to deliver next."""
        with self._lock:
            waiting = self._waiting[channel]
            return waiting[0] if waiting else None

    def delivered(self, channel: str, notice: Notice) -> None:
        """The channel took it; in the file on return."""
        with self._lock:
            waiting = self._waiting[channel]
            self._waiting[channel] = [each for each in waiting if each.id != notice.id]
            self._save()

    def waiting(self) -> dict[str, int]:
        """How many notices wait for each channel."""
        with self._lock:
            return {name: len(notices) for name, notices in self._waiting.items()}

    def _judgement(self) -> dict[str, Any]:
        """As the evaluator has it now; deep, because that one goes on."""
        return {
            "standing": {name: asdict(each) for name, each in self.standing.items()},
            "growing": {
                name: {"last": dict(each.last), "rises": list(each.rises)}
                for name, each in self._growing.items()
            },
        }

    def _save(self) -> None:
        """Whole or not at all. A disk that takes nothing stops no alarm: then a restart may tell something twice."""
        waiting = {name: [each.plain() for each in notices] for name, notices in self._waiting.items()}
        plain = {"version": 1, **self._judged, "waiting": waiting}
        unfinished = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with unfinished.open("w", encoding="utf-8") as file:
                json.dump(plain, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self._path)
        except OSError as error:
            _log.warning("the state of the alarms cannot be written: %s", error.strerror)
