"""A disposition with its projections in PostgreSQL and Elasticsearch: their own files hold no word of what went."""

from contextlib import ExitStack

import pytest

from tests.flow.archive_fixtures import no_settings_around
from tests.flow.real_api import RealApi
from tests.flow.test_compartments import found, mail, taken
from tests.flow.test_disposition import archived, at_once, decided, forward, holding, pool, state
from tests.services import elasticsearch, postgres

__all__ = ["at_once", "no_settings_around", "pool"]


@pytest.fixture
def servers():
    with ExitStack() as stack:
        database = stack.enter_context(postgres.running(postgres.needed_programs(), "-c", "wal_recycle=off"))
        yield database, stack.enter_context(elasticsearch.running())


def _written(database):
    """All is in the tables' files; what the log held before goes, for it is not kept for use again."""
    database.run("SELECT pg_switch_wal()")
    database.run("CHECKPOINT")


def test_disposition_leaves_no_word_in_the_files_of_postgres_and_elasticsearch(
    tmp_path, pool, servers, monkeypatch
):
    database, server = servers
    for name, value in (("CATALOG_URL", database.url()), ("INDEX", "elasticsearch"), ("ES_URL", server.url)):
        monkeypatch.setenv(f"ARCHIVE_{name}", value)
    monkeypatch.setenv("ARCHIVE_ES_REPLICAS", "0")
    with RealApi(tmp_path / "archive", pool) as api:
        for number in range(30):  # their rows lie about those that go
            mail(tmp_path / "more", f"more{number}", "z@ex.fr", "b@ex.fr", f"facture 8{number}")
        taken(api, tmp_path / "more")
        archived(api, tmp_path)
        taken(api, tmp_path / "more", name="again")
        name = decided(api)
        _written(database)
        assert holding(database.folder)
        forward(api)
        forward(api)
        assert state(api, name)["state"] == "done"
        assert found(api)["total"] == 31
        _written(database)
        assert holding(tmp_path / "archive") == []
        assert holding(database.folder) == []
        assert holding(server.folder) == []
