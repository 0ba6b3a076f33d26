"""One round of the scheduler: everything that is due is done for every tenant, a fault of one thing stops nothing else,
and it is told."""

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from archive_service.alarms import names
from archive_service.alarms.tally import Tally
from archive_service.bootstrap import make_tenant, open_core
from archive_service.catalog.base import Job
from archive_service.disposal.expiring import Expiring
from archive_service.disposal.sweeping import Sweeping
from archive_service.model.errors import Overloaded, StoreError
from archive_service.serving import scheduler as module
from archive_service.serving.scheduler import Scheduler
from archive_service.settings import load
from tests.flow.archive_fixtures import no_settings_around

__all__ = ["no_settings_around"]

STEPS = ("recovery", "erasure", "exports", "disposition", "sweep", "notices", "trim", "export")
DAY = 86400.0


@pytest.fixture
def core(tmp_path: Path):
    made = open_core(load(data=tmp_path / "archive"), create=True)
    for name in ("acme", "beta"):
        make_tenant(made, name)
    yield made
    made.close()


class Round:
    """A scheduler whose work is noted, not done. ``faults``: what a step raises instead."""

    def __init__(self, core, monkeypatch: pytest.MonkeyPatch) -> None:
        self.core, self.now = core, 0.0
        self.did: list[tuple[str, str]] = []
        self.faults: dict[str, Exception] = {}
        self.tally = Tally()
        found = SimpleNamespace(chained=0, reported={})
        made = SimpleNamespace(capture_ids=()), SimpleNamespace(ids=["m1"])

        def noted(step: str, result: object = 0) -> Callable[..., object]:
            def work(_: object, tenant, **_told: object) -> object:
                return self.do(step, tenant.name, result)

            return work

        def recovery(_: object, tenant) -> object:
            return SimpleNamespace(run=lambda: self.do("recovery", tenant.name, found))

        def sending(_: object, tenant) -> object:
            return SimpleNamespace(run=lambda: self.do("notices", tenant.name, 0))

        monkeypatch.setattr(module, "make_recovery", recovery)
        monkeypatch.setattr(module, "run_batch", noted("erasure"))
        monkeypatch.setattr(module, "advance", noted("disposition"))
        monkeypatch.setattr(Sweeping, "run", lambda _, core, tenant: noted("sweep")(core, tenant))
        monkeypatch.setattr(Expiring, "run", lambda _, core, tenant: noted("exports")(core, tenant))
        monkeypatch.setattr(module, "sending_of", sending)
        monkeypatch.setattr(module, "remove_older", lambda folder, _: self.do("trim", self.named(folder), 0))
        monkeypatch.setattr(
            module, "run_export", lambda opened, *more: self.do("export", opened.tenant.name, made)
        )
        monkeypatch.setattr(module, "summary", lambda *given: {"messages": []})
        self.scheduler = Scheduler(core, None, self.tally, monotonic=lambda: self.now)  # type: ignore[arg-type]

    def named(self, folder: Path) -> str:
        return next(tenant.name for tenant in self.core.tenants() if tenant.id == folder.name)

    def do(self, step: str, tenant: str, result: object) -> object:
        self.did.append((step, tenant))
        if step in self.faults:
            raise self.faults[step]
        return result

    def ask_export(self, tenant: str) -> None:
        opened = self.scheduler._opened(self.core.tenant(tenant))
        opened.services.jobs.add(Job(f"{tenant}-job", "export", "anne", {"ids": ["m1"]}))

    def job(self, tenant: str) -> Job:
        found = self.scheduler._opened(self.core.tenant(tenant)).services.jobs.get(f"{tenant}-job")
        assert found is not None
        return found

    def told(self) -> dict[str | None, float]:
        """How often each code of a failure was counted."""
        return {
            each.label("code"): each.value for each in self.tally.samples() if each.metric == names.FAILURES
        }


@pytest.fixture
def turn(core, monkeypatch):
    made = Round(core, monkeypatch)
    for tenant in ("acme", "beta"):
        made.ask_export(tenant)
    yield made
    made.scheduler.close()


ALL = {(step, tenant) for step in STEPS for tenant in ("acme", "beta")}


def test_a_round_does_everything_for_every_tenant_and_the_next_one_only_what_is_due(turn):
    assert turn.scheduler.step() and turn.scheduler.step()  # two exports, one at a time
    assert not turn.scheduler.step()
    assert sorted(turn.did) == sorted(ALL)
    assert [turn.job(each).state for each in ("acme", "beta")] == ["done", "done"]
    turn.did.clear()
    turn.now = 300.0
    turn.scheduler.step()
    assert {step for step, _ in turn.did} == {"recovery", "exports", "disposition", "sweep", "notices"}
    turn.did.clear()
    turn.now = DAY
    turn.scheduler.step()
    assert sorted(turn.did) == sorted(each for each in ALL if each[0] != "export")
    assert turn.told() == {}


@pytest.mark.parametrize("broken", STEPS)
def test_a_step_that_fails_stops_no_other_and_is_told(turn, caplog, broken):
    caplog.set_level(logging.WARNING)
    turn.faults[broken] = StoreError("a planned fault", code=f"planned.{broken}")
    while turn.scheduler.step():
        continue
    assert set(turn.did) == ALL
    assert turn.told() == {f"planned.{broken}": 2}  # for each tenant
    assert sum(f"planned.{broken}" in line for line in caplog.messages) == 2
    exports = "failed" if broken == "export" else "done"
    assert [turn.job(each).state for each in ("acme", "beta")] == [exports, exports]
    turn.did.clear()
    turn.faults.clear()
    turn.now = DAY
    turn.scheduler.step()
    assert set(turn.did) == {each for each in ALL if each[0] != "export"}, "it comes again in its time"


def test_an_erasure_batch_of_somebody_else_is_no_failure(turn):
    turn.faults["erasure"] = Overloaded("another runs", code="erasure.busy")
    while turn.scheduler.step():
        continue
    assert [each for each in turn.did if each[0] == "erasure"] == [("erasure", "acme")]
    assert turn.told() == {}


def test_what_another_machine_does_is_left_to_it(turn):
    elsewhere = ("recovery", "disposition", "notices")
    leases = turn.core.leases
    turn.core.leases = SimpleNamespace(take=lambda name: not name.endswith(elsewhere), close=leases.close)
    while turn.scheduler.step():
        continue
    turn.core.leases = leases
    assert {step for step, _ in turn.did} == {"erasure", "exports", "trim", "export"}
    assert turn.told() == {}
