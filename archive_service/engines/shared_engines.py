"""Catalogs and jobs on PostgreSQL, indexes on Elasticsearch: every machine of an archive works on the same ones."""

import shutil
import threading
from pathlib import Path

from archive_service.catalog.jobs import SqlJobs
from archive_service.catalog.schemas import Schemas
from archive_service.catalog.sql import SqlCatalog
from archive_service.engines.projection_engines import Pair
from archive_service.engines.projections import NEXT
from archive_service.model.errors import Invalid, StoreError
from archive_service.settings import Settings
from search.indexes.elasticsearch import ElasticsearchConnection, ElasticsearchIndex


class SharedEngines:
    """See ``ProjectionEngines``. ``folder``: of this machine, for the notes of builders.

    A catalog that an interrupted builder left is taken up; an index is always begun anew, for nobody could tell what of
    it is whole.
    """

    shared = True

    def __init__(self, settings: Settings, folder: Path) -> None:
        """Asks no server yet. Raises Invalid where the settings name only one of the two."""
        if settings.catalog_url is None or settings.index != "elasticsearch" or not settings.es_url:
            message = (
                "PostgreSQL and Elasticsearch go together: catalog_url, index = elasticsearch and es_url"
            )
            raise Invalid(message, code="settings.invalid")
        self._url = settings.catalog_url.get_secret_value()
        self._connections = settings.catalog_connections
        self._elasticsearch = _connection(settings, settings.es_url)
        self._folder = folder
        self._schemas = Schemas(self._url, connections=self._connections)
        self._lock = threading.Lock()
        self._built: dict[tuple[str, str], ElasticsearchIndex] = {}

    def stands(self, owner: str) -> bool:
        """See ProjectionEngines."""
        return self._schemas.stands(owner)

    def live(self, owner: str) -> Pair:
        """See ProjectionEngines."""
        catalog = SqlCatalog.postgres(self._url, owner, connections=self._connections)
        index = self._index(owner)
        return Pair(
            catalog, index, self._notes(owner, "live"), expunge=index.expunge, outdated=index.outdated
        )

    def jobs(self, owner: str) -> SqlJobs:
        """See ProjectionEngines."""
        return SqlJobs.postgres(self._url, owner, connections=self._connections)

    def build(self, owner: str, name: str, threads: int = 1) -> Pair:
        """See ProjectionEngines. What a drill compares is as well made in a file."""
        notes = self._notes(owner, name)
        standing = self._index(owner)
        try:
            index = standing.beside()
        finally:
            standing.close()
        with self._lock:
            self._built[owner, name] = index
        return Pair(self._catalog_beside(owner, name, notes), index, notes)

    def _catalog_beside(self, owner: str, name: str, notes: Path) -> SqlCatalog:
        if name != NEXT:
            return SqlCatalog.sqlite(notes / "catalog.sqlite")
        catalog = SqlCatalog.postgres(self._url, owner, connections=self._connections, beside=name)
        catalog.indexed(0)
        return catalog

    def adopt(self, owner: str, name: str) -> None:
        """See ProjectionEngines. The index goes first: cut off between the two, the old catalog has a newer index,
        which the follower fills again where it does not fit."""
        with self._lock:
            built = self._built.pop((owner, name), None)
        if name != NEXT or built is None:
            raise ValueError("only the next pair takes the place, when it was built here")
        index = built.reopened()
        try:
            index.take_place()
        finally:
            index.close()
        try:
            self._schemas.adopt(owner, name)
        except StoreError as error:
            if error.code != "catalog.nothing_beside" or not self._schemas.stands(owner):
                raise  # otherwise it had taken its place before an answer was lost
        self._forget(owner, name)

    def drop(self, owner: str, name: str) -> None:
        """See ProjectionEngines."""
        index = self._index(owner)
        try:
            index.drop_beside()
        finally:
            index.close()
        if name == NEXT:
            self._schemas.drop(owner, name)
        with self._lock:
            self._built.pop((owner, name), None)
        self._forget(owner, name)

    def _index(self, owner: str) -> ElasticsearchIndex:
        return ElasticsearchIndex(self._elasticsearch, owner)

    def _notes(self, owner: str, name: str) -> Path:
        folder = self._folder / f"{owner}.{name}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def _forget(self, owner: str, name: str) -> None:
        shutil.rmtree(self._folder / f"{owner}.{name}", ignore_errors=True)


def _connection(settings: Settings, urls: str) -> ElasticsearchConnection:
    key, password = settings.es_api_key, settings.es_password
    return ElasticsearchConnection(
        urls=tuple(url.strip() for url in urls.split(",")),
        api_key=key.get_secret_value() if key is not None else None,
        user=settings.es_user,
        password=password.get_secret_value() if password is not None else None,
        ca_bundle=settings.es_ca_bundle,
        timeout=settings.es_timeout,
        prefix=settings.es_prefix,
        shards=settings.es_shards,
        replicas=settings.es_replicas,
    )
