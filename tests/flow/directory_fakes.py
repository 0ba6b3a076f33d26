"""A directory in memory for the HTTP API's tests: real acts, made when somebody first looks."""

from typing import Any, cast

from archive_service.directory.people import People
from archive_service.model.clock import Clock
from tests.unit.core_world import Archive as World

THERE: dict[str, Any] = {
    "id": "c-there",
    "name": "Anne Martin",
    "addresses": [
        {"address": "anne@ex.fr", "kind": "primary", "until": "2025-12-31"},
        {"address": "a.martin@ex.fr", "kind": "primary", "from": "2026-01-01"},
    ],
}
BY_SCIM = {
    "id": "c-scim",
    "name": "Bob Petit",
    "addresses": [{"address": "bob@ex.fr", "kind": "primary"}],
    "external": {"scim": "bob@ex.fr"},
}
GROUPS = [
    {"id": "g-there", "name": "Achats", "address": "achats@ex.fr"},
    {"id": "g-scim", "name": "Compta", "external": {"scim": "compta"}},
]


class _Lazy:
    """Most tests of the API look at nobody."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        acts = World().acts()
        said = {"version": 1, "by": "anne", "at": "2026-01-01T00:00:00.000000Z", "origin": "api"}
        acts.append(lambda _: {"act": "custodian.group", "groups": GROUPS, **said})
        acts.append(lambda _: {"act": "custodian.set", "people": [THERE, BY_SCIM], **said})
        made = People(acts, self._clock)
        self.__dict__.update(acts=acts, **{each: getattr(made, each) for each in ("changes", "at_head")})
        self.__dict__["expanded"] = made.expanded
        return self.__dict__[name]


def people(clock: Clock) -> People:
    """With two people and two groups in it; their versions are 2 and 1."""
    return cast(People, _Lazy(clock))
