"""Which indexes there are: names, months, generations, and the alias that readers go by.

``PREFIX.OWNER`` is the alias. ``PREFIX.OWNER.GENERATION.MONTH`` is an index; one of each generation, ``base``, is
always there and always empty, so that an index without documents is not taken for one that is missing. A generation is
what a rebuild or a copy fills beside the one that readers see; one request moves the alias from one to the other.
Documents are written through an alias of each index, ``INDEX-write``: a late write to an index that has gone cannot
make it anew.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elasticsearch import Elasticsearch

from archive_service.model.errors import Invalid, StoreError
from search.indexes.elasticsearch import mapping
from search.indexes.elasticsearch.failures import Missing, Refused, RetryPolicy

_PREFIX = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_OWNER = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")


def new_generation() -> str:
    """A name that no other has."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class Generation:
    """``alias``: of the owner's readers. ``indexes``: those that stand. ``seen``: those of them that readers see.
    ``mapping``: the version that it was made with."""

    alias: str
    name: str
    indexes: frozenset[str]
    seen: frozenset[str]
    mapping: int

    @property
    def pattern(self) -> str:
        """All of its indexes."""
        return f"{self.alias}.{self.name}.*"

    def index(self, part: str) -> str:
        """The index of a month, or ``base``."""
        return f"{self.alias}.{self.name}.{part}"


class Layout:
    """One owner's indexes. Holds no state: what stands is asked."""

    def __init__(
        self,
        client: Elasticsearch,
        retry: RetryPolicy,
        *,
        prefix: str,
        owner: str,
        shards: int,
        replicas: int,
    ) -> None:
        if not _PREFIX.fullmatch(prefix) or not _OWNER.fullmatch(owner):
            message = "a name of the search index holds more than lower case letters, digits, '-' and '_'"
            raise Invalid(message)
        self.alias = f"{prefix}.{owner}"
        self._client = client
        self._retry = retry
        self._shards = shards
        self._replicas = replicas

    def current(self) -> Generation | None:
        """The generation that readers see; None: there is no index."""
        try:
            standing = self._retry.run(lambda: self._client.indices.get_alias(name=self.alias).body)
        except Missing:
            return None
        names = {name.removeprefix(f"{self.alias}.").partition(".")[0] for name in standing}
        if len(names) != 1 or f"{self.alias}.{min(names)}.base" not in standing:
            message = "the alias of the search index points to what is not ours; rebuild it"
            raise StoreError(message, code="index.unreadable")
        return self.generation(min(names))

    def generation(self, name: str) -> Generation:
        """As it stands now; without indexes when there is none of this name."""
        pattern = f"{self.alias}.{name}.*"
        found: Mapping[str, Any] = self._retry.run(
            lambda: (
                self._client.indices.get(
                    index=pattern, features=["aliases", "mappings"], filter_path=_ONLY
                ).body
            )
        )
        seen = frozenset(index for index, about in found.items() if self.alias in about.get("aliases", {}))
        base = found.get(f"{self.alias}.{name}.base", {})
        version = base.get("mappings", {}).get("_meta", {}).get("mapping", mapping.VERSION)
        return Generation(self.alias, name, frozenset(found), seen, int(version))

    def begin(self, name: str) -> Generation:
        """Make an empty generation; one of this name goes on as it stands."""
        self._create(f"{self.alias}.{name}.base", shards=1)
        return self.generation(name)

    def extend(self, generation: Generation, months: set[str], *, seen: bool) -> Generation:
        """Make what is missing for these months. ``seen``: show it to readers, in one step with the check that they
        still see this generation. Raises StoreError ``index.moved`` when they do not."""
        for month in months:
            if not _MONTH.fullmatch(month):
                raise Invalid("a month is written YYYY-MM")
        wanted = {generation.index(month) for month in months}
        for index in sorted(wanted - generation.indexes):
            self._create(index, shards=self._shards)
        hidden = wanted - generation.seen
        if seen and hidden:
            self._show(generation, hidden)
        return self.generation(generation.name)

    def seize(self, generation: Generation) -> None:
        """Readers see ``generation`` from one moment to the next, and no longer what the alias pointed to, ours or not;
        then every other generation is deleted."""
        try:
            holders = self._retry.run(lambda: self._client.indices.get_alias(name=self.alias).body)
        except Missing:
            holders = {}
        names = sorted(set(holders) - generation.indexes)
        actions: list[dict[str, Any]] = [{"remove": {"index": name, "alias": self.alias}} for name in names]
        actions.append({"add": {"indices": sorted(generation.indexes), "alias": self.alias}})
        self._retry.run(lambda: self._client.indices.update_aliases(actions=actions))
        self.sweep({generation.name})

    def sweep(self, kept: set[str]) -> None:
        """Delete generations that were begun and never took their place, all but those named."""
        found = self._retry.run(
            lambda: (
                self._client.indices.get(
                    index=f"{self.alias}.*", features=["aliases"], filter_path="*.aliases"
                ).body
            )
        )
        own = {name: name.removeprefix(f"{self.alias}.").partition(".")[0] for name in found}
        self._delete(frozenset(name for name, of in own.items() if of not in kept))

    def drop(self, name: str) -> None:
        """Delete a generation; absent is no error."""
        self._delete(self.generation(name).indexes)

    def _create(self, index: str, *, shards: int) -> None:
        made = mapping.body(shards=shards, replicas=self._replicas)
        aliases = {write_alias(index): {"is_hidden": True}}
        try:
            self._retry.run(lambda: self._client.indices.create(index=index, aliases=aliases, **made))
        except Refused as error:
            if "resource_already_exists_exception" not in error.reason:
                raise  # otherwise: made before a crash, or by an attempt whose answer was lost

    def _show(self, generation: Generation, indexes: set[str]) -> None:
        """Taking the alias from the base and giving it back fails as a whole once readers see another generation."""
        base = generation.index("base")
        actions: list[dict[str, Any]] = [
            {"remove": {"index": base, "alias": self.alias, "must_exist": True}},
            {"add": {"indices": [base, *sorted(indexes)], "alias": self.alias}},
        ]
        try:
            self._retry.run(lambda: self._client.indices.update_aliases(actions=actions))
        except Missing as error:
            message = "the search index was replaced by another while it was written"
            raise StoreError(message, code="index.moved") from error

    def _delete(self, indexes: frozenset[str]) -> None:
        if indexes:
            names = sorted(indexes)
            self._retry.run(lambda: self._client.indices.delete(index=names, ignore_unavailable=True))


_ONLY = "*.aliases,*.mappings._meta"


def write_alias(index: str) -> str:
    """Through which alone documents come in."""
    return f"{index}-write"
