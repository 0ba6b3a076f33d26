"""Whether the index holds what the catalog says: a search that finds less than there is looks like any other."""

from archive_service.alarms import names
from archive_service.alarms.tally import Sample
from archive_service.engines.projection_engines import Pair
from archive_service.model.errors import StoreError


def index_difference(owner: str, live: Pair) -> list[Sample]:
    """By how many messages an owner's index and catalog differ; nothing where the follower is at work meanwhile: then
    they may. Raises StoreError when one of them cannot be asked; an index that is not there differs by all of them."""
    before = live.catalog.position()
    if before.indexed != before.rows:
        return []
    counted = live.catalog.counts()["messages"]
    try:
        held = live.held()
    except StoreError as error:
        if error.code != "index.unreadable":
            raise
        held = 0
    if live.catalog.position() != before:
        return []
    return [Sample.of(names.INDEX_DIFFERING, abs(held - counted), owner=owner)]
