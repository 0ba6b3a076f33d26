"""The watch over a real S3 service, reached through a proxy that can be deaf: what it says of the store, the clock and
the key places, and that only one of two machines tells what both see alike."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from archive_service.alarms import names
from archive_service.alarms.notices import State
from archive_service.alarms.tally import Tally
from archive_service.alarms.watch import Watch
from archive_service.bootstrap import make_tenant, open_core
from archive_service.settings import Settings, load
from archive_service.vault.stores.faults import Effect
from tests.services.fault_proxy import CUT, FaultProxy
from tests.services.s3 import S3Service, new_bucket, s3_service

__all__ = ["s3_service"]  # a fixture


@dataclass
class OnS3:
    """An archive whose store is behind ``store`` and whose second key place is behind ``second``."""

    common: dict[str, object]
    folder: Path
    store: FaultProxy
    second: FaultProxy

    def settings(self, machine: str = "one") -> Settings:
        return load(**self.common, work=self.folder / machine)

    def heal(self) -> None:
        for proxy in (self.store, self.second):
            proxy.heal()


@pytest.fixture
def on_s3(s3_service: S3Service, tmp_path: Path) -> Iterator[OnS3]:
    store, second = FaultProxy(s3_service.url), FaultProxy(s3_service.url)
    login = {"access_key": s3_service.access_key, "secret_key": s3_service.secret_key}
    keys = [new_bucket(s3_service, locked=False).bucket for _ in "ab"]
    common: dict[str, object] = {
        "store": "s3",
        "s3_endpoint": store.url,
        "s3_bucket": new_bucket(s3_service).bucket,
        "s3_timeout": 5,
        "kms_folder": tmp_path / "kms",
        "alarm_disk_percent": 0,
        **{f"s3_{name}": value for name, value in login.items()},
    }
    for which, bucket, url in zip("ab", keys, (s3_service.url, second.url), strict=True):
        common |= {f"keys_{which}": f"s3://{bucket}", f"keys_{which}_endpoint": url}
        common |= {f"keys_{which}_{name}": value for name, value in login.items()}
    made = OnS3(common, tmp_path, store, second)
    core = open_core(made.settings(), create=True)
    make_tenant(core, "acme")
    core.close()
    yield made
    made.heal()
    for proxy in (store, second):
        proxy.close()


@pytest.fixture
def watch(on_s3: OnS3) -> Iterator[Watch]:
    made = Watch(on_s3.settings(), Tally())
    yield made
    on_s3.heal()
    made._close_core()


def deaf(proxy: FaultProxy) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "POST"):
        proxy.fail(method, times=None, effect=Effect.LOST, answer=CUT)


def told(watch: Watch, runs: int = 1) -> list[tuple[str, State]]:
    return [(notice.alarm, notice.state) for _ in range(runs) for notice in watch.once()]


def values(watch: Watch) -> dict[str, float]:
    return {sample.metric: sample.value for sample in watch._told()}


def test_alarms_s3_of_a_store_that_is_deaf_and_hears_again(on_s3: OnS3, watch: Watch) -> None:
    assert told(watch) == []
    assert values(watch)[names.STORE_OK] == 1
    assert abs(values(watch)[names.CLOCK_OFFSET]) < 60
    deaf(on_s3.store)
    assert told(watch) == [("store_unreachable", State.RAISED)]
    assert told(watch) == []  # what does not open any more rings no second time
    on_s3.heal()
    assert told(watch, runs=3) == [("store_unreachable", State.CLEARED)]


def test_alarms_s3_of_a_key_place_that_is_away(on_s3: OnS3, watch: Watch) -> None:
    assert told(watch) == []
    deaf(on_s3.second)
    assert told(watch) == [("key_place_unreachable", State.RAISED)]
    on_s3.heal()
    assert told(watch, runs=3) == [("key_place_unreachable", State.CLEARED)]


def test_alarms_s3_one_of_two_machines_tells_what_both_see(on_s3: OnS3, watch: Watch) -> None:
    other = Watch(on_s3.settings("two"), Tally())
    try:
        watch.once()
        other.once()
        assert names.CHECKPOINT_LAG in values(watch)
        assert names.CHECKPOINT_LAG not in values(other)
        assert {names.STORE_OK, names.KEY_PLACE_OK, names.WORK_FREE} <= set(values(other))
        watch._close_core()  # the first machine ends in an orderly way
        other.once()
        assert names.CHECKPOINT_LAG in values(other)
    finally:
        other._close_core()


def test_alarms_s3_a_machine_without_a_follower_tells_no_lag_of_its_empty_catalog(
    on_s3: OnS3, watch: Watch
) -> None:
    watch.once()
    assert names.FOLLOWER_LAG_ENTRIES not in values(watch)
    (on_s3.folder / "one" / "run" / "follower.lease").touch()
    watch.once()
    assert values(watch)[names.FOLLOWER_LAG_ENTRIES] >= 0
