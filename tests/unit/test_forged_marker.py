"""A delete marker over an object, without S3: ``stat`` shows it, ``list`` does not, ``verify`` names it."""

from archive_service.ledger.verify.locks import Locks
from archive_service.ledger.verify.report import Report
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock, NewObject
from archive_service.vault.stores.memory import MemoryStore

LOG = LogId("0" * 20, "capture-1")


def details(store: MemoryStore) -> list[str]:
    report = Report()
    assert Locks(store, report, LOG).check("a/1") == Lock()
    return [problem.detail for problem in report.problems]


def test_a_marker_and_a_newer_version_are_told_apart() -> None:
    store = MemoryStore()
    (made,) = store.create([NewObject("a/1", b"body")])
    assert details(store) == []
    marker = store.forge_marker("a/1")
    assert details(store) == ["a delete marker stands over an object"]
    assert [(found.version, found.marker) for found, _ in store.stat("a/1")] == [
        (made.version, False),
        (marker, True),
    ]
    assert [found.version for found in store.list("a/")] == [made.version]
    assert store.read("a/1") == b"body"
    store.forge_version("a/1", b"forged")
    assert details(store) == ["newer versions stand over an object", "a delete marker stands over an object"]
