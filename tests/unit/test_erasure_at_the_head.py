"""What an erasure batch asks once more where it lands: each of these could change between choosing and saying so."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from archive_service.model.clock import rfc3339
from tests.unit.erasure_bench import Erasing


@pytest.fixture
def erasing() -> Iterator[Erasing]:
    made = Erasing()
    yield made
    made.archive.world.close()


def test_a_hold_that_came_since_a_capture_was_chosen_is_held_against_it_first(erasing: Erasing) -> None:
    victim, *_ = erasing.send(b"one", b"two")
    erasing.ask(victim)
    erasing.next_day()
    asked: list[str] = []

    def undecided(each: object) -> bool:
        asked.append(str(each))
        return len(asked) > 1

    batch = erasing.batch()
    batch._parts = replace(batch._parts, undecided=undecided)
    outcome = batch.run()
    assert (outcome.erased, outcome.waiting, len(asked)) == (0, 1, 2)
    assert erasing.readable(victim) == b"one"


def test_a_batch_that_another_process_has_begun_meanwhile_is_the_only_one(
    erasing: Erasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = erasing.send(b"one", b"two")
    erasing.ask(first)
    erasing.next_day()
    batch = erasing.batch()
    close = batch._close

    def overtaken(numbers: list[int]) -> None:
        close(numbers)
        erasing.ask(second)
        begun = {"batch": "bother", "captures": [second.capture], "generations": [], "tables": [], "kms": []}
        erasing.acts().append(lambda _: {"version": 1, "act": "erasure.begin", **begun})

    monkeypatch.setattr(batch, "_close", overtaken)
    assert batch.run().erased == 0
    assert [each.id for each in erasing.acts().erasures.unfinished()] == ["bother"]
    assert erasing.readable(first) == b"one"


def test_no_key_version_is_destroyed_while_an_incident_is_open(erasing: Erasing) -> None:
    victim, *_ = erasing.send(b"one", b"two")
    erasing.ask(victim)
    erasing.next_day()
    assert erasing.run(grace=timedelta(0)).destroyed  # without one it is
    other, *_ = erasing.send(b"three", b"four")
    erasing.ask(other)
    erasing.next_day()
    assert erasing.run(grace=timedelta(hours=1)).destroyed == []
    erasing.next_day()
    at = rfc3339(erasing.archive.world.clock())
    said = {"incident": "i1", "reason": "r", "by": "dora", "at": at, "since": at}
    erasing.acts().append(lambda _: {"version": 1, "act": "incident.open", **said})
    assert erasing.run().destroyed == []
    assert [each for each in erasing.acts().erasures.batches.values() if each.destroyed_at is None]
