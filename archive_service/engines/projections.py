"""Where an owner's catalog and index lie, and how a pair that was built beside them takes their place.

    projections/OWNER        what the service reads
    projections/OWNER.next   what a rebuild makes; the file ``complete`` in it says that it is to take the place
    projections/OWNER.old    what it replaced; removed at the end

The marker decides. Until it is there nothing is touched; from then on every step may be cut off anywhere, and whoever
opens the projections next goes on. What a rebuild does not make (the jobs) is carried over.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archive_service.model.errors import StoreDenied

CATALOG = "catalog.sqlite"
INDEX = "index"
NEXT = "next"
_COMPLETE = "complete"


def next_to(live: Path) -> Path:
    """Where the pair is built that will take the place of ``live``."""
    return live.with_name(f"{live.name}.{NEXT}")


def _old(live: Path) -> Path:
    return live.with_name(f"{live.name}.old")


def settled(live: Path) -> Path:
    """The folder of an owner's projections, made if need be, after finishing what an interrupted swap left. Raises
    StoreDenied."""
    try:
        if _under_way(live):
            _finish(live)
        live.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreDenied(f"the folder of the projections cannot be used: {error.strerror}") from error
    return live


def swap(live: Path) -> None:
    """Let the finished pair in ``next_to(live)`` take the place; durable on return. No process may write either one.
    Raises StoreDenied: whoever opens ``live`` next goes on."""
    try:
        following = next_to(live)
        with (following / _COMPLETE).open("xb") as marker:
            os.fsync(marker.fileno())
        _sync(following)
        _finish(live)
    except OSError as error:
        raise StoreDenied(f"the rebuilt projections cannot be put in place: {error.strerror}") from error


def _under_way(live: Path) -> bool:
    return (next_to(live) / _COMPLETE).exists() or (live / _COMPLETE).exists()


def _finish(live: Path) -> None:
    with _alone(live):
        following, old = next_to(live), _old(live)
        if (following / _COMPLETE).exists():
            _set_aside(live, old)
            following.rename(live)
            _sync(live.parent)
        if (live / _COMPLETE).exists():
            _carry_over(old, live)
            shutil.rmtree(old, ignore_errors=True)
            (live / _COMPLETE).unlink()
            _sync(live)


def _set_aside(live: Path, old: Path) -> None:
    """What is live becomes old, unless an interrupted swap did that before: then it is what somebody made since."""
    if not live.exists():
        return
    if old.exists():
        shutil.rmtree(live)
    else:
        live.rename(old)


def _carry_over(old: Path, live: Path) -> None:
    for file in old.iterdir() if old.is_dir() else ():
        made_again = file.name.startswith(CATALOG) or file.name == INDEX
        if not made_again and not (live / file.name).exists():
            file.rename(live / file.name)


@contextmanager
def _alone(live: Path) -> Iterator[None]:
    """One process at a time moves folders; the kernel lets go when it dies."""
    descriptor = os.open(live.with_name(f"{live.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
