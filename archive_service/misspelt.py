"""Variables that look like settings and are none: a misspelt one would leave a setting at its default, unseen.

They are told, not refused: the environment is not ours alone. Values are never looked at.
"""

import difflib
import re
from collections.abc import Iterable

from archive_service.settings import Settings

_PREFIX = str(Settings.model_config.get("env_prefix", ""))
_OURS = frozenset(
    ("ARCHIVE_PARENT_PIPE", "ARCHIVE_READY_PIPE", "ARCHIVE_REPORT_FILE", "ARCHIVE_REQUIRE_SERVICES")
)
_TESTS = "ARCHIVE_TEST"
# What Kubernetes sets for every Service of a namespace, whatever it is called.
_LINK = re.compile(r".*_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP)(?:_\w+)?)?)")


def misspelt(variables: Iterable[str]) -> dict[str, str | None]:
    """Those of the environment's names that begin like a setting and are none, each with the setting that is nearest
    to it, if one is near."""
    known = {_PREFIX + name.upper() for name in Settings.model_fields}
    found: dict[str, str | None] = {}
    for name in sorted(variables):
        alike = name.upper().startswith(_PREFIX) and name.upper() not in known | _OURS
        if alike and not name.startswith(_TESTS) and _LINK.fullmatch(name) is None:
            found[name] = next(iter(difflib.get_close_matches(name.upper(), sorted(known), 1, 0.75)), None)
    return found


def said(name: str, nearest: str | None) -> str:
    """One of them in words."""
    return f"{name} is no setting" + (f"; {nearest} is" if nearest else "")
