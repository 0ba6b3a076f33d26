"""Lives of a scheduler for the tests, each in a process of its own that may kill itself.

Reads a line ``FOLDER DAY N``: a scheduler and a follower begin on the archive in that folder so many days from now and
take their turns over three days of its clock; ``kill -9`` comes right after the Nth step of the scheduler's that the
outside can see, and never where N is -1. Answers whether it was killed, and what the steps were, as one line of JSON.
It forks: what takes long to load is loaded once.
"""

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from archive_service.alarms import mail as alarm_mail
from archive_service.bootstrap import open_core
from archive_service.catalog.sqlite import SqliteDatabase
from archive_service.catching_up import catch_up
from archive_service.disposal import expiring
from archive_service.ledger.acts import Acts
from archive_service.ledger.reader import Place
from archive_service.model.clock import utc_now
from archive_service.serving.scheduler import Scheduler
from archive_service.settings import load
from archive_service.vault.stores.filesystem import FileSystemKeyPlace, FileSystemStore
from tests.flow.archive_fixtures import Here

DAYS = 3


class Steps:
    """Counts what the scheduler does to the world outside, and dies after one of it."""

    def __init__(self, last: int, seen: int) -> None:
        self._last = last
        self._seen = (
            seen  # a file descriptor: what was done is said at once, for nobody can say it afterwards
        )
        self._count = 0
        self.counting = False

    def watch(self, owner: Any, name: str, tell: Callable[..., str]) -> None:
        """Count the calls of a method or function; ``tell`` names one by its arguments."""
        real = getattr(owner, name)

        def counted(*given: Any, **more: Any) -> Any:
            made = real(*given, **more)
            if self.counting:
                os.write(self._seen, f"{name} {tell(*given)}\n".encode())
                if self._count == self._last:
                    os.kill(os.getpid(), signal.SIGKILL)
                self._count += 1
            return made

        setattr(owner, name, counted)


def _kind(key: str) -> str:
    """A name without what differs between two archives, or two of a kind."""
    return re.sub(r"[0-9a-f]{8,}|[0-9]+(?=\.key)|(?<=-)[0-9]+$|[0-9]{4,}", "*", key)


def _live(folder: Path, first: int, last: int, seen: int) -> None:
    steps = Steps(last, seen)
    words: list[str] = []
    real = Acts.append

    def append(acts: Acts, act: Callable[[Place], dict[str, Any]]) -> int:
        def noted(place: Place) -> dict[str, Any]:
            made = act(place)
            words[:] = [str(made["act"])]
            return made

        return real(acts, noted)

    Acts.append = append  # type: ignore[method-assign]
    steps.watch(Acts, "append", lambda *given: words[0])
    steps.watch(
        FileSystemStore, "create", lambda _, made: ",".join(sorted({_kind(each.key) for each in made}))
    )
    for name in ("protect", "delete"):
        steps.watch(FileSystemStore, name, lambda _, key, *more: _kind(key))
    for name in ("create", "put", "delete"):
        steps.watch(FileSystemKeyPlace, name, lambda _, key, *more: _kind(key))
    steps.watch(SqliteDatabase, "write", lambda *given: "database")
    steps.watch(expiring, "_removed", lambda *given: "export")
    steps.watch(alarm_mail, "hand_over", lambda *given: "mail")
    now = [0]

    def clock() -> datetime:
        return utc_now() + timedelta(days=now[0])

    core = open_core(load(None, data=folder), clock=clock)
    scheduler = Scheduler(core, Here(), monotonic=lambda: now[0] * 86400.0)  # type: ignore[arg-type]
    for now[0] in range(first, first + DAYS):
        steps.counting = True
        scheduler.step()
        steps.counting = False
        for tenant in core.tenants(0):
            catch_up(core, tenant, Here())  # type: ignore[arg-type]
    scheduler.close()
    core.close()


def main() -> None:
    """Life after life, until nobody asks for more."""
    for line in sys.stdin:
        folder, first, last = line.split()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _live(Path(folder), int(first), int(last), writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as said:
            steps = said.read().splitlines()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or status == 0, status
        print(json.dumps({"killed": killed, "steps": steps}), flush=True)


if __name__ == "__main__":
    main()
