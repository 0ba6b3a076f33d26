"""An archive as in production, for tests that make its servers fail: S3, and a PostgreSQL and an Elasticsearch of a
module's own. Fixtures: ``engines``, ``site``."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.services import elasticsearch, postgres
from tests.services.versitygw import S3Service
from tests.system.machines import Machine, Site, s3_settings


class Engines:
    """A PostgreSQL and an Elasticsearch of this module's own, which its tests may kill and start again."""

    def __init__(self, stack: ExitStack) -> None:
        self.postgres = stack.enter_context(postgres.running(postgres.needed_programs()))
        self.elasticsearch = stack.enter_context(elasticsearch.running())


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    with ExitStack() as stack:
        yield Engines(stack)


@pytest.fixture
def site(s3_service: S3Service, engines: Engines, tmp_path: Path) -> Iterator[Site]:
    settings = s3_settings(s3_service, tmp_path)
    settings |= {
        "ARCHIVE_CATALOG_URL": engines.postgres.url(),
        "ARCHIVE_INDEX": "elasticsearch",
        "ARCHIVE_ES_URL": engines.elasticsearch.url,
        "ARCHIVE_ES_REPLICAS": "0",
        "ARCHIVE_ES_TIMEOUT": "10",
        "ARCHIVE_SMTP_WORKERS": "2",
    }
    made = Site(tmp_path, settings)
    yield made
    for machine in made.machines:
        machine.kill()


def clean(machine: Machine, rows: int) -> None:
    """``verify`` finds nothing, and looked at so many rows at least."""
    said = machine.command("verify")
    assert said["clean"] is True, said
    assert said["checked"]["rows"] >= rows
