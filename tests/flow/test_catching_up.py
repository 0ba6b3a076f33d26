"""Catching up keeps no lease: whoever wants to follow afterwards, may, however it ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from archive_service.bootstrap import Core, open_core
from archive_service.catching_up import catch_up, seal_looks
from archive_service.following import parser_pool
from archive_service.model.errors import StoreError
from archive_service.settings import Settings
from tests.flow.importing import made


@pytest.fixture
def cores(tmp_path: Path) -> Iterator[tuple[Core, Core]]:
    """Two processes of one archive."""
    settings = Settings(data=made(tmp_path / "archive"))
    one, two = open_core(settings), open_core(settings)
    yield one, two
    one.close()
    two.close()


def free(core: Core) -> list[str]:
    """Which of the leases of following another process gets."""
    order = str(core.tenant("acme").id) + "/order-1"
    wanted = [(core.here, "follower"), (core.leases, "checkpointer"), (core.order_leases, order)]
    got = [name.rpartition("/")[2] for leases, name in wanted if leases.take(name)]
    for leases, name in wanted:
        leases.release(name)
    return got


ALL = ["follower", "checkpointer", "order-1"]


def test_others_may_follow_afterwards(cores: tuple[Core, Core]) -> None:
    one, two = cores
    with parser_pool(one.settings) as pool:
        catch_up(one, one.tenant("acme"), pool)
        assert free(two) == ALL
        seal_looks(one)
        assert free(two) == ALL


def test_others_may_follow_after_one_that_failed(
    cores: tuple[Core, Core], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = cores

    def broken(*_: object) -> None:
        raise StoreError("no")

    monkeypatch.setattr("archive_service.catching_up._seal", broken)
    with parser_pool(one.settings) as pool, pytest.raises(StoreError):
        catch_up(one, one.tenant("acme"), pool)
    assert free(two) == ALL


def test_while_another_process_follows_nothing_of_its_is_let_go(cores: tuple[Core, Core]) -> None:
    one, two = cores
    assert two.here.take("follower")
    seal_looks(one)
    assert not one.here.take("follower")
