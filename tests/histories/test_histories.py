"""Random histories of retention (``python -m tests.histories`` runs many)."""

import os

import pytest

from archive_service.following import parser_pool
from archive_service.settings import load
from tests.flow.archive_fixtures import no_settings_around
from tests.histories.history import made, run_seed

__all__ = ["no_settings_around"]

FOUND = (50, 78)  # of several runs that waited only one began in a round
SEEDS = range(100) if os.environ.get("ARCHIVE_TEST_FULL") else (*range(3), *FOUND)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    with parser_pool(load(None), 1) as pool:
        yield made(tmp_path_factory.mktemp("histories") / "archive", pool)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_history_breaks_a_hold_a_minimum_an_order_or_a_disposition(template, tmp_path, seed):
    run_seed(template, tmp_path / "archive", seed)
