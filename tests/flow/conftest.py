"""What many tests of whole flows begin with: an archive behind its API, and where its mail is parsed."""

import pytest

from archive_service.following import parser_pool
from archive_service.settings import load
from tests.flow.real_api import RealApi


@pytest.fixture(scope="session")
def pool():
    """One parser for all: it is thrown away where a mail breaks it."""
    with parser_pool(load(None), 1) as made:
        yield made


@pytest.fixture
def api(tmp_path, pool):
    """An embedded archive with tenant ``acme``."""
    with RealApi(tmp_path / "archive", pool) as made:
        yield made
