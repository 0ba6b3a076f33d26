"""One tenant's directory as API and commands use it: read at the head of the acts, changed by acts."""

from typing import Any

from archive_service.access.directory import Resolution, expanded
from archive_service.directory.changes import DirectoryChanges
from archive_service.ledger.acts import Acts
from archive_service.ledger.custodians import Custodians
from archive_service.model.clock import Clock
from archive_service.model.custodians import Custodian, Group
from search.query_language import Named, Node, walk


class People:
    """Thread-safe."""

    def __init__(self, acts: Acts, clock: Clock) -> None:
        self._acts = acts
        self.changes = DirectoryChanges(acts, clock)

    def at_head(self) -> Custodians:
        """The directory by the acts at their head. Raises ArchiveError when they cannot be read."""
        self._acts.refresh()
        return self._acts.custodians

    def expanded(self, query: Node) -> tuple[Node, tuple[Resolution, ...]]:
        """See ``access.directory.expanded``; the acts are read only where the query names somebody."""
        if not any(isinstance(node, Named) for node in walk(query)):
            return query, ()
        return expanded(query, self.at_head())


def custodian_view(directory: Custodians, custodian: Custodian) -> dict[str, Any]:
    """A person as API and commands show him: every field, groups with their names and addresses, and ``version``."""
    shown = custodian.model_dump(mode="json", by_alias=True)
    for membership in shown["groups"]:
        group = directory.group(membership["group"])
        membership["name"] = group.name if group else None
        membership["address"] = group.address if group else None
    return shown | {"version": directory.version(custodian.id)}


def group_view(directory: Custodians, group: Group) -> dict[str, Any]:
    """A group, and ``version``."""
    return group.model_dump(mode="json") | {"version": directory.version(group.id)}
