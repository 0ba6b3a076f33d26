"""What the last reconciliations on this machine said, kept for the alarms: a small file in the work folder. Where it is
lost nothing is said: no number stands for what nobody knows."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from archive_service.alarms import names
from archive_service.alarms.tally import Sample

_log = logging.getLogger(__name__)
ALL = "all"
"""Stands for a source where all of an owner's were compared."""


def _path(work: Path) -> Path:
    return work / "run" / "reconciled.json"


def _read(work: Path) -> dict[str, Any]:
    try:
        plain = json.loads(_path(work).read_text("utf-8"))
        return dict(plain["of"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def record_reconciled(work: Path, owner: str, source: str, *, present: int, missing: int, extra: int) -> None:
    """Note a result; the one of that source before goes. That it cannot be written is logged, and changes nothing of
    the result."""
    of = _read(work)
    of[f"{owner}/{source}"] = {"at": time.time(), "present": present, "missing": missing, "extra": extra}
    path = _path(work)
    unfinished = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished.write_text(json.dumps({"version": 1, "of": of}), "utf-8")
        unfinished.replace(path)
    except OSError as error:
        _log.warning("the result of the reconciliation cannot be noted: %s", error.strerror)


def reconciled_samples(work: Path, now: float) -> list[Sample]:
    """Of every source that has a result that can be read. ``now``: seconds since 1970."""
    return [sample for name, kept in sorted(_read(work).items()) for sample in _of(name, kept, now)]


def _of(name: str, kept: Any, now: float) -> Iterator[Sample]:
    owner, _, source = name.partition("/")
    labels = {"owner": owner, "source": source}
    try:
        values = {word: float(kept[word]) for word in ("at", "present", "missing", "extra")}
    except (KeyError, TypeError, ValueError):
        return
    yield Sample.of(names.RECONCILED_PRESENT, values["present"], **labels)
    yield Sample.of(names.RECONCILED_MISSING, values["missing"], **labels)
    yield Sample.of(names.RECONCILED_EXTRA, values["extra"], **labels)
    yield Sample.of(names.RECONCILED_AGE, max(0.0, now - values["at"]), **labels)
