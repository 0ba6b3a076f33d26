"""An index that is not there yet, as the service's readers see it."""

import pytest

from archive_service.catalog.sql import SqlCatalog
from archive_service.engines.served_index import ServedIndex
from archive_service.model.errors import StoreError
from search.indexes.tantivy_index import TantivyIndex
from search.query_language import Everything
from tests.contracts.query_scenarios import DOCUMENTS


class Rows:
    """A catalog of so many rows; ``meanwhile`` runs when it is asked."""

    def __init__(self, rows, meanwhile=lambda: None):
        self._rows = rows
        self._meanwhile = meanwhile

    def position(self):
        self._meanwhile()
        return type("Position", (), {"rows": self._rows})


@pytest.fixture
def index(tmp_path):
    index = TantivyIndex(tmp_path / "index")
    yield index
    index.close()


def found(served):
    return served.search(Everything(), limit=100).total


def test_a_young_archive_without_an_index_finds_nothing(index, tmp_path):
    catalog = SqlCatalog.sqlite(tmp_path / "catalog.sqlite")
    assert found(ServedIndex(index, catalog)) == 0
    catalog.close()


def test_an_index_that_has_gone_never_looks_like_an_empty_one(index):
    with pytest.raises(StoreError) as caught:
        found(ServedIndex(index, Rows(1)))
    assert caught.value.code == "index.unreadable"


def test_an_index_that_was_made_and_filled_meanwhile_is_asked_again(index):
    def follower():
        index.clear()
        index.write(DOCUMENTS)

    assert found(ServedIndex(index, Rows(len(DOCUMENTS), follower))) == len(DOCUMENTS)


def test_an_index_that_is_only_away_never_looks_like_an_empty_one():
    class Away:
        def search(self, query, **asked):
            raise StoreError("away", code="index.unavailable")

    with pytest.raises(StoreError) as caught:
        found(ServedIndex(Away(), Rows(0)))
    assert caught.value.code == "index.unavailable"
