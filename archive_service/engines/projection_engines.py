"""Where a tenant's catalog, jobs and index live, and how a pair that was built beside them takes their place: what the
rest of the service asks of the engines under the projections.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Protocol

from archive_service.catalog.jobs import SqlJobs
from archive_service.catalog.sql import SqlCatalog
from archive_service.disposal.tidying import read_tidied
from archive_service.engines import projections
from search.indexes.base import KeptIndex
from search.indexes.tantivy_index import TantivyIndex
from search.query_language import Everything


@dataclass(frozen=True)
class Pair:
    """A tenant's catalog and index, opened. ``notes``: a folder of this machine for what a builder must remember; it
    goes when the pair takes its place or is dropped. ``expunge``: takes off the index's medium what removed documents
    have left there, and says whether all of it is; None where only who writes the index can (``rewrite``: a piece of
    it, True after the last). ``outdated``: whether the index holds documents of an older
    release that have to be written anew, where it would answer nevertheless."""

    catalog: SqlCatalog
    index: KeptIndex
    notes: Path
    expunge: Callable[[], bool] | None = None
    rewrite: Callable[[], bool] | None = None
    outdated: Callable[[], bool] | None = None

    def held(self) -> int:
        """How many messages the index holds. Raises StoreError: ``index.unreadable`` where there is none."""
        return self.index.search(Everything(), limit=1, snippets=False).total

    def scrub(self, position: int) -> bool:
        """After an erasure whose act stands at ``position`` of the acts log: what it removed leaves the media too.
        Whether all of it has: where only who writes the index can do it, by what he has noted. Raises StoreError."""
        self.catalog.scrub()
        if self.expunge is not None:
            return self.expunge()
        return read_tidied(self.notes) > position

    def close(self) -> None:
        """Let locks and connections go."""
        self.index.close()
        self.catalog.close()


class ProjectionEngines(Protocol):
    """The engines under the projections of all tenants, by owner id. Thread-safe. ``shared``: every machine works on
    the same catalog and index, so only the active follower may write them."""

    shared: bool

    def stands(self, owner: str) -> bool:
        """Whether there is a catalog. Raises StoreError."""
        ...

    def live(self, owner: str) -> Pair:
        """What the service reads, made if there is none. Raises StoreError."""
        ...

    def jobs(self, owner: str) -> SqlJobs:
        """The tenant's jobs, which outlive a rebuild. Raises StoreError."""
        ...

    def build(self, owner: str, name: str, threads: int = 1) -> Pair:
        """A pair beside the live one that no reader sees: as an interrupted builder of this ``name`` left it, or new.
        ``threads``: of the index writer, where it has any. Raises StoreError."""
        ...

    def adopt(self, owner: str, name: str) -> None:
        """The pair of this name, closed, takes the place of the live one; durable on return, and finished by whoever
        opens it next if this is cut off. Raises StoreError."""
        ...

    def drop(self, owner: str, name: str) -> None:
        """Forget the pair of this name; absent is no error. Raises StoreError."""
        ...


class FolderEngines:
    """SQLite files and tantivy folders below the work folder of one machine (``projections``)."""

    shared = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def stands(self, owner: str) -> bool:
        """See ProjectionEngines."""
        return (self._live(owner) / projections.CATALOG).exists()

    def live(self, owner: str) -> Pair:
        """See ProjectionEngines."""
        return _open(self._live(owner))

    def jobs(self, owner: str) -> SqlJobs:
        """See ProjectionEngines."""
        return SqlJobs.sqlite(self._live(owner) / "jobs.sqlite")

    def build(self, owner: str, name: str, threads: int = 1) -> Pair:
        """See ProjectionEngines."""
        folder = self._beside(owner, name)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _open(folder, threads)

    def adopt(self, owner: str, name: str) -> None:
        """See ProjectionEngines. Only ``projections.NEXT`` may take the place."""
        if name != projections.NEXT:
            raise ValueError("only the next pair takes the place")
        projections.swap(self._live(owner))

    def drop(self, owner: str, name: str) -> None:
        """See ProjectionEngines."""
        rmtree(self._beside(owner, name), ignore_errors=True)

    def _live(self, owner: str) -> Path:
        return projections.settled(self._folder / owner)

    def _beside(self, owner: str, name: str) -> Path:
        return self._folder / f"{owner}.{name}"


def _open(folder: Path, threads: int = 1) -> Pair:
    index = TantivyIndex(folder / projections.INDEX, writer_threads=threads)
    return Pair(SqlCatalog.sqlite(folder / projections.CATALOG), index, folder, rewrite=index.expunge)
