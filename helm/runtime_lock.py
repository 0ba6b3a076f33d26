"""Prints the part of requirements.lock that the service itself needs, without what only its developers use.

    python helm/runtime_lock.py requirements.lock pyproject.toml > runtime.lock

To be run where all of requirements.lock is installed: the installed packages say what they need. For the image.
"""

import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed(dependencies: Iterable[str]) -> set[str]:
    """Names of these requirements and of all that they need here, extras and markers minded. Raises
    PackageNotFoundError for one that is not installed."""
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(each) for each in dependencies]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [each for each in _requires(name) if _applies(each, extra)]
    return {name for name, _ in seen}


def _requires(name: str) -> list[Requirement]:
    return [Requirement(each) for each in requires(name) or []]


def _applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def blocks(lock: str) -> dict[str, str]:
    """A lock's lines by package: the pinned version with its hashes and comments."""
    found: dict[str, str] = {}
    name = None
    for line in lock.splitlines(keepends=True):
        if not line[:1].isspace() and "==" in line:
            name = canonicalize_name(line.partition("==")[0].partition("[")[0])
        if name is not None:
            found[name] = found.get(name, "") + line
    return found


def runtime_lock(lock: str, project: str) -> str:
    """The part of ``lock`` that ``project`` (pyproject.toml) needs at run time. Raises KeyError for a package that
    the lock does not pin."""
    pinned = blocks(lock)
    names = needed(tomllib.loads(project)["project"]["dependencies"])
    return "".join(pinned[name] for name in sorted(names))


if __name__ == "__main__":
    given, described = (Path(each).read_text("utf-8") for each in sys.argv[1:3])
    sys.stdout.write(runtime_lock(given, described))
