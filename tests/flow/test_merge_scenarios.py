"""Captures become messages through the real flow: archived, followed, merged in the catalog, found by the index."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archive_service.bootstrap import add_source, open_core
from archive_service.catalog.base import MessageRow
from archive_service.ledger.capture_writer import CaptureDraft
from archive_service.model.clock import rfc3339
from archive_service.model.mail import CaptureRecord, Source, SourceKind
from archive_service.settings import Settings
from archive_service.vault.stores.base import Lock
from search.query_language import parse
from tests.flow.archive_fixtures import PATIENCE, Open, run
from tests.flow.merge_scenarios import REVERSED, SCENARIOS, Arrival, Scenario
from tests.services import elasticsearch, postgres

PAIRS = ("sqlite-tantivy", "postgres-elasticsearch")


class Merging:
    """An archive with a source of each kind."""

    def __init__(self, archive: Open) -> None:
        self.archive = archive
        self.sources = {source.kind: source for source in archive.tenant.acts.sources()}

    def take(self, arrivals: tuple[Arrival, ...]) -> None:
        """Archive these one after the other, and follow."""
        writer = self.archive.writer()
        try:
            for arrival in arrivals:
                writer.submit(self._draft(arrival), arrival.raw).result(PATIENCE)
        finally:
            writer.close()
        self.archive.follow()

    def _draft(self, arrival: Arrival) -> CaptureDraft:
        now = self.archive.core.clock()
        source = self.sources[arrival.kind]
        record = CaptureRecord(
            capture="",
            source=source.id,
            received_at=rfc3339(now),
            mail_from="",
            rcpt_to=(self._rcpt(source, arrival),),
        )
        return CaptureDraft(record, Lock(until=now + timedelta(days=30)), self.archive.tenant.acts.seen)

    @staticmethod
    def _rcpt(source: Source, arrival: Arrival) -> str:
        """The source's address, with the recipient inside it as Postfix writes it (docs/sources/postfix.md)."""
        if arrival.rcpt is None:
            return source.address
        local, _, domain = source.address.partition("@")
        return f"{local}+{arrival.rcpt.replace('@', '=')}@{domain}"

    def found(self, query: str) -> list[MessageRow]:
        """What a search finds, as the catalog has it; each message once."""
        found = self.archive.index.search(parse(query), limit=100, snippets=False)
        rows = self.archive.catalog.messages([hit.id for hit in found.hits])
        assert found.total == len(found.hits) == len(rows)
        return rows


def _opened(folder: Path, settings: dict[str, Any]) -> Open:
    assert run("init", "--data", folder, "--tenant", "acme").code == 0
    core = open_core(Settings(data=folder, **settings))
    tenant = core.tenant("acme")
    for kind in SourceKind:
        add_source(tenant, str(kind), kind, "archive.example")
    tenant.acts.refresh()
    return Open(core, tenant, tenant.acts.sources()[0])


@pytest.fixture(scope="module", params=PAIRS)
def merging(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Merging]:
    with ExitStack() as stack:
        settings = {}
        if request.param == PAIRS[1]:
            database = stack.enter_context(postgres.running(postgres.needed_programs()))
            server = stack.enter_context(elasticsearch.running())
            settings = {
                "catalog_url": database.url(),
                "index": "elasticsearch",
                "es_url": server.url,
                "es_replicas": 0,
            }
        archive = _opened(tmp_path_factory.mktemp("merging") / "archive", settings)
        stack.callback(archive.close)
        yield Merging(archive)


def _known(row: MessageRow) -> tuple[int, tuple[tuple[str, str], ...], bool]:
    people = sorted((each.address.partition("@")[0], str(each.role)) for each in row.recipients)
    return len(row.captures), tuple(people), row.envelope_complete


@pytest.mark.parametrize("scenario", [*SCENARIOS, *REVERSED], ids=lambda scenario: scenario.name)
def test_what_captures_come_to(merging: Merging, scenario: Scenario) -> None:
    for arrivals, expected in zip(scenario.rounds, scenario.found, strict=True):
        merging.take(arrivals)
        assert {query: len(merging.found(query)) for query in expected} == expected
    rows = merging.found(f"participants:{scenario.name}.example")
    assert Counter(map(_known, rows)) == Counter(
        (one.captures, tuple(sorted(one.recipients.items())), one.complete) for one in scenario.messages
    )
    assert len({capture.id for row in rows for capture in row.captures}) == sum(map(len, scenario.rounds))
    assert {name: merging.archive.index.ids()[name] for name in (row.id for row in rows)} == {
        row.id: row.version for row in rows
    }, "the index has each message once, as the catalog has it now"
