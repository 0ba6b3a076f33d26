"""What acts say of a source after it was made: replayed from the acts log, each gives the source as it is from then on.

source.set            {source: ID, guard}            what it asks of its sender
source.rotate         {source: ID, address, until}   a new secret address
source.undeliverable  {source: ID, address}          its address for reports that could not be delivered
source.watch          {source: ID, watch}            when its silence is worth an alarm
source.canary         {source: ID, canary or null}   the mail that the archive sends through its route
"""

from collections.abc import Mapping
from typing import Any

from archive_service.model.mail import Canary, Guard, Source, Watch


def changed(act: Mapping[str, Any], sources: Mapping[str, Source]) -> Source | None:
    """The source that an act changes, as it is then; None for an act of another kind. Raises KeyError, TypeError or
    ValueError for a malformed one."""
    word = act["act"]
    if word == "source.rotate":
        return sources[act["source"]].rotated(str(act["address"]), str(act["until"]))
    if word == "source.set":
        update: dict[str, Any] = {"guard": Guard.model_validate(act["guard"])}
    elif word == "source.undeliverable":
        update = {"undeliverable": str(act["address"])}
    elif word == "source.watch":
        update = {"watch": Watch.model_validate(act["watch"])}
    elif word == "source.canary":
        update = {"canary": None if act["canary"] is None else Canary.model_validate(act["canary"])}
    else:
        return None
    return sources[act["source"]].model_copy(update=update)
