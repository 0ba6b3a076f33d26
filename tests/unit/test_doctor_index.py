"""What ``doctor`` says of an index: never that all is well while searches find less than there is."""

from types import SimpleNamespace

import pytest

from archive_service.catalog.base import Changes
from archive_service.catalog.sql import SqlCatalog
from archive_service.commands.doctor import _check, _index
from archive_service.engines.projection_engines import Pair
from search.indexes.tantivy_index import TantivyIndex
from tests.contracts.query_scenarios import document
from tests.contracts.test_catalog import capture


@pytest.fixture
def said(tmp_path):
    """What the check says, each time of the catalog and index as they are then."""

    def live(owner):
        return Pair(SqlCatalog.sqlite(tmp_path / "catalog"), TantivyIndex(tmp_path / "index"), tmp_path)

    def say():
        checks = {}
        core = SimpleNamespace(engines=SimpleNamespace(live=live))
        _check(checks, "index", lambda: _index(core, "acme"))
        return checks["index"]

    return say, live


def test_doctor_says_whether_the_index_holds_what_the_catalog_has(said):
    say, live = said
    assert say() == "none yet: the follower or rebuild makes it"
    pair = live("acme")
    pair.catalog.apply(Changes(captures=(capture(0, "m1"), capture(1, "m2")), sources=(), rows=2, acts=0))
    pair.index.write([document("m1", 0)])
    assert say() == "1 messages"  # the follower is at work
    pair.catalog.indexed(2)
    assert say().startswith("FAILED (doctor.index)")
    pair.index.write([document("m2", 1)])
    assert say() == "2 messages"
    pair.index.clear()
    assert say().startswith("FAILED (doctor.index)")
    pair.close()
