"""Evidence on disk: it is read back, rebuilt, handed over, and compared with what the catalog claims of it."""

import queue
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, delete, update

from archive_service.bootstrap import open_core
from archive_service.catalog import tables
from archive_service.catalog.base import CaptureRow, EvidenceRow
from archive_service.catalog.looks import Subject
from archive_service.export.reading import LedgerContents
from archive_service.model.errors import Tampered
from archive_service.model.evidence import DnsAnswer, Evidence, Look, Malware
from archive_service.settings import Settings
from archive_service.tenant_services import open_tenant
from search.evidence_desk import EvidenceDesk
from tests.flow.archive_fixtures import PATIENCE, Copy, built, copy, done, no_settings_around, opened, verify

__all__ = ["built", "copy", "no_settings_around"]
AT = "2026-03-01T12:00:00.000000Z"


class Wordy:
    """Finds something in each capture, and says more of it than stands in an entry."""

    look = Look.MALWARE

    def at(self, subject: Subject) -> Evidence:
        noise = random.Random(subject.row.id).randbytes(20_000).hex()
        record = f'x.fr. 300 IN TXT "{noise}"'
        return Evidence(
            capture=subject.row.id,
            look=self.look,
            at=AT,
            program="wordy",
            malware=Malware(result="found", size=len(subject.raw), name="Test.Wordy"),
            dns=(DnsAnswer(name="x.fr", rcode="NOERROR", records=(record,), at=AT),),
        )


@pytest.fixture
def looked(copy: Copy) -> Copy:
    """An archive every capture of which was looked at."""
    archive = opened(copy.data)
    try:
        archive.follow()
        outcomes: queue.SimpleQueue[str] = queue.SimpleQueue()
        parts = archive.follower._parts
        desk = EvidenceDesk(
            parts.vault,
            parts.acts,
            parts.catalog,
            [Wordy()],
            threads=2,
            count=lambda _, outcome: outcomes.put(outcome),
        )
        archive.follower._parts = replace(parts, desk=desk)
        left = archive.catalog.counts()["captures"]
        while left:
            archive.follow()
            assert outcomes.get(timeout=PATIENCE) == "found"
            left -= 1
        archive.follow()
        desk.close()
        archive.checkpointer.run_once()
    finally:
        archive.close()
    return copy


@contextmanager
def rows(data: Path) -> Iterator[tuple[LedgerContents, dict[str, tuple[CaptureRow, list[EvidenceRow]]]]]:
    """What reads the ledger, and of each capture its row and its evidence in the catalog."""
    core = open_core(Settings(data=data))
    tenant = open_tenant(core, core.tenant("acme"))
    catalog = tenant.services.catalog
    try:
        captures = [row["id"] for row in catalog.dump() if row["table"] == "captures"]  # type: ignore[attr-defined]
        known = catalog.evidence(captures)
        found = {name: (catalog.capture(name), known.get(name, [])) for name in captures}
        yield tenant.contents, found  # type: ignore[misc]
    finally:
        tenant.close()
        core.close()


def evidence(data: Path) -> dict[str, list[Evidence]]:
    """Of each capture, as the ledger has it."""
    with rows(data) as (contents, found):
        return {name: [look.evidence for look in contents.looks(*each)] for name, each in found.items()}


def test_what_does_not_fit_into_an_entry_is_an_object_and_verify_reads_it(looked: Copy) -> None:
    said = verify(looked.data)
    assert said.answer["clean"], said.problems
    found = evidence(looked.data)
    assert found and all(len(looks) == 1 and looks[0].mark == "Test.Wordy" for looks in found.values())
    assert all(len(looks[0].dns[0].records[0]) > 40_000 for looks in found.values())
    objects = list((looked.data / "objects").rglob("*/order-1/**/*"))
    assert sum(path.is_file() for path in objects) >= len(found)


def test_a_rebuild_has_it_again(looked: Copy) -> None:
    before = evidence(looked.data)
    done("rebuild", "--data", looked.data)
    assert evidence(looked.data) == before
    assert verify(looked.data).answer["clean"]


def test_a_handover_carries_it(looked: Copy, tmp_path: Path) -> None:
    done("handover", "--tenant", "acme", "--to", tmp_path / "package", "--data", looked.data, "--json")
    key = tmp_path / "package.key"
    done("handover-load", tmp_path / "package", "--key-file", key, "--data", tmp_path / "new", "--json")
    assert evidence(tmp_path / "new") == evidence(looked.data)
    assert verify(tmp_path / "new").answer["clean"]


def _database(data: Path, owner: str) -> str:
    found = [path for path in (data / "projections").rglob("catalog.sqlite") if owner in str(path)]
    assert len(found) == 1, found
    return f"sqlite:///{found[0]}"


@pytest.mark.parametrize("change", ["cleaned", "removed", "settled"])
def test_tamper_with_the_catalogs_evidence_is_named(looked: Copy, change: str) -> None:
    """Somebody takes a mark away in the database."""
    engine = create_engine(_database(looked.data, looked.of.tenant))
    table = tables.evidence
    with engine.begin() as connection:
        row = connection.execute(table.select().limit(1)).one()
        where = table.c.order_seq == row.order_seq
        if change == "cleaned":
            content = {**row.content, "malware": {"result": "clean", "size": row.content["malware"]["size"]}}
            connection.execute(update(table).where(where).values(content=content, mark=None))
        elif change == "removed":
            connection.execute(delete(table).where(where))
        else:
            captures = tables.captures
            connection.execute(update(captures).where(captures.c.id == row.capture).values(origin_due=None))
    engine.dispose()
    if change == "cleaned":
        with rows(looked.data) as (contents, found), pytest.raises(Tampered):
            contents.looks(*found[row.capture])
    damage = verify(looked.data).damage
    assert [problem["what"] for problem in damage] == ["row"]
