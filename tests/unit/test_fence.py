"""The fence before an erasure batch's writes."""

import pytest

from archive_service.model.errors import StoreError
from archive_service.vault.destruction import Destroyer
from retention.fence import Fence
from tests.unit.erasure_bench import Erasing


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_it_renews_now_and_then_and_stops_who_was_silent_for_long() -> None:
    now, renewed = Now(), []
    fence = Fence(lambda: not renewed.append(now.seconds), now)
    for now.seconds in (0, 30, 61, 100, 122, 700):
        fence()
    assert renewed == [61, 122, 700]
    now.seconds = 1301
    with pytest.raises(StoreError, match="silent"):
        fence()
    assert renewed == [61, 122, 700]


def test_a_lease_that_another_has_taken_stops_it() -> None:
    now = Now()
    fence = Fence(lambda: False, now)
    fence()
    now.seconds = 61
    with pytest.raises(StoreError) as caught:
        fence()
    assert caught.value.code == "erasure.fenced"


def test_nothing_is_written_once_fenced() -> None:
    """Every write of a batch passes the fence: with it shut from the n-th on, the places do not change any more."""
    passed = 0
    erasing = Erasing()
    victim, *_ = erasing.send(b"one", b"two")
    erasing.ask(victim)
    erasing.next_day()
    at: list[tuple[dict[str, bytes], dict[str, bytes]]] = []

    def fence() -> None:
        nonlocal passed
        passed += 1
        if passed > 3:
            at.append(erasing.places())
            raise StoreError("fenced", code="erasure.fenced")

    batch = erasing.batch()
    batch._destroyer = Destroyer(batch._keyring, fence=fence)
    with pytest.raises(StoreError):
        batch.run()
    assert at == [erasing.places()]
    assert erasing.run().erased == 1
    erasing.archive.world.close()
