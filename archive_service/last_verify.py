"""Where the result of the last complete ``verify`` on a machine is kept: a small file in its work folder."""

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class LastVerify:
    """``at``: when it ended, in seconds since 1970; ``damages``: how many it named, in the whole archive."""

    at: float
    damages: int


def path_of(work: Path) -> Path:
    """The file."""
    return work / "run" / "verify-result.json"


def last_verify(work: Path) -> LastVerify | None:
    """The last result, if there is one that can be read."""
    try:
        kept = json.loads(path_of(work).read_text("utf-8"))
        return LastVerify(float(kept["at"]), int(kept["damages"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
