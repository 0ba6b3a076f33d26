"""What the last complete ``verify`` on this machine found, kept for the alarms: a small file in the work folder."""

import json
import logging
import time
from pathlib import Path

from archive_service.alarms import names
from archive_service.alarms.tally import Sample
from archive_service.last_verify import last_verify, path_of

_log = logging.getLogger(__name__)


def record_verify(work: Path, damages: int, *, whole: bool = True) -> None:
    """Note the result of a run that came to its end. ``whole``: it read everything; a sample that found nothing does
    not take back what a whole run named. That it cannot be written is logged, and changes nothing of the result."""
    path = path_of(work)
    if not whole and not damages and _damages(work):
        return
    unfinished = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished.write_text(json.dumps({"version": 1, "at": time.time(), "damages": damages}), "utf-8")
        unfinished.replace(path)
    except OSError as error:
        _log.warning("the result of verify cannot be noted: %s", error.strerror)


def _damages(work: Path) -> float:
    found = verify_samples(work, time.time())
    return sum(sample.value for sample in found if sample.metric == names.VERIFY_DAMAGE)


def verify_samples(work: Path, now: float) -> list[Sample]:
    """The last result, if there is one that can be read. ``now``: seconds since 1970."""
    last = last_verify(work)
    if last is None:
        return []
    return [
        Sample.of(names.VERIFY_DAMAGE, last.damages),
        Sample.of(names.VERIFY_AGE, max(0.0, now - last.at)),
    ]
