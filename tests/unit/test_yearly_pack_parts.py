"""Parts of the yearly pack: what stood at the end of the span, what came within it, what was a use."""

from types import SimpleNamespace

import pytest

from archive_service.access.events import AccessEvent, AccessRecord
from archive_service.model.clock import from_rfc3339
from archive_service.vault.key_layout import LogId
from archive_service.yearly_pack import disposals, quantities, rights
from archive_service.yearly_pack.span import Span

SPAN = Span.of(2025, from_rfc3339("2026-06-01T00:00:00Z"))
LOG = LogId("5608b7d02bd217944dec", "capture-1")


def at(day):
    return f"{day}T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("begins", "ends", "revoked", "stood"),
    [
        ("2024-01-01", "2027-01-01", None, True),
        ("2024-01-01", "2025-06-01", None, False),
        ("2024-01-01", "2027-01-01", "2025-06-01", False),
        ("2024-01-01", "2027-01-01", "2026-02-01", True),
        ("2026-02-01", "2027-01-01", None, False),
    ],
    ids=["stands", "has ended", "revoked in it", "revoked behind it", "begins behind it"],
)
def test_a_right_is_in_force_that_stood_at_the_end_of_the_span(begins, ends, revoked, stood):
    assert rights._stood(at(begins), at(ends), revoked and at(revoked), SPAN) is stood


@pytest.mark.parametrize(
    ("placed", "released", "stood"),
    [
        ("2024-01-01", None, True),
        ("2024-01-01", "2026-02-01", True),
        ("2024-01-01", "2025-02-01", False),
        ("2026-02-01", None, False),
    ],
    ids=["stands", "released behind it", "released in it", "placed behind it"],
)
def test_hold_stood_at_the_end_of_the_span(placed, released, stood):
    ended = None if released is None else SimpleNamespace(at=at(released))
    assert disposals._stood(SimpleNamespace(at=at(placed), released=ended), SPAN) is stood


def test_what_came_before_the_span_did_not_come_within_it(monkeypatch):
    days = ("2024-05-01", "2025-05-01", "2026-05-01")
    fields = {"object": {"size": 10}}
    entries = [SimpleNamespace(type="capture", time=at(day), fields=fields) for day in days]
    monkeypatch.setattr(quantities, "chained", lambda *_: iter(entries))
    monkeypatch.setattr(quantities, "find_head", lambda *_: SimpleNamespace(seq=3))
    came = quantities._Came()
    assert list(quantities._read(None, LOG, came, SPAN)) == [10, 10, 0]
    assert (came.before.captures, came.within.captures) == (1, 1)


def test_a_use_is_what_was_shown_and_not_what_was_refused():
    def record(day, **more):
        return AccessRecord(
            "l", 1, at(day), AccessEvent(actor="rita", role="reviewer", action="search", **more)
        )

    refused, shown = record("2025-08-01", outcome="refused"), record("2025-03-01")
    use = ("rita", "reviewer", False)
    for records, last in (([refused], None), ([refused, shown], shown.time)):
        log = SimpleNamespace(newest=lambda *_, records=records: (records, None))
        found = rights._uses(log, {use}, SPAN, 100)
        assert (found.last.get(use), found.complete) == (last, True)


def test_a_year_is_over_when_all_of_it_has_gone_by():
    assert SPAN.over
    assert not Span.of(2026, from_rfc3339("2026-06-01T00:00:00Z")).over
