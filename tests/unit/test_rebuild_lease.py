"""A rebuild over shared engines goes on only as long as no follower can be active."""

from types import SimpleNamespace

import pytest

from archive_service.engines import rebuilding
from archive_service.model.errors import Refused


class Leases:
    """Answers as it is told, then True."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def take(self, name):
        assert name in ("builder", "owner/order-1")
        return self.answers.pop(0) if self.answers and name != "builder" else True


class Engines:
    shared = True

    def __init__(self):
        self.adopted = []

    def adopt(self, owner, name):
        self.adopted.append((owner, name))


@pytest.fixture
def world(monkeypatch):
    """A core whose builds take one run each; the runs are counted."""
    runs = []
    catalog = SimpleNamespace(position=lambda: SimpleNamespace(rows=3), counts=lambda: {"messages": 0})
    building = SimpleNamespace(
        pair=SimpleNamespace(catalog=catalog, index=None, held=lambda: 0),
        replay=SimpleNamespace(run=lambda: runs.append(1)),
        damaged=SimpleNamespace(seqs=set()),
    )

    class Opened:
        def __enter__(self):
            return building

        def __exit__(self, *told):
            return False

    monkeypatch.setattr(rebuilding, "_opened", lambda *told: Opened())

    def made(folder, *answers):
        building.pair.notes = folder
        leases = Leases(*answers)
        core = SimpleNamespace(engines=Engines(), order_leases=leases, leases=leases)
        return core, runs

    return made


TENANT = SimpleNamespace(id="owner")


@pytest.mark.parametrize(
    ("answers", "runs"), [((), 1), ((False, True), 2), ((False, True, False, True), 3)], ids=str
)
def test_a_rebuild_that_lost_the_lease_looks_again_before_it_takes_the_place(world, tmp_path, answers, runs):
    core, counted = world(tmp_path, *answers)
    rebuilding.rebuild(core, TENANT, jobs=1)
    assert (len(counted), core.engines.adopted) == (runs, [("owner", "next")])


@pytest.mark.parametrize("answers", [(False, False), (True, False, True), (True, False, False)], ids=str)
def test_a_rebuild_beside_a_follower_that_became_active_does_not_take_the_place(world, tmp_path, answers):
    core, _ = world(tmp_path, *answers)
    with pytest.raises(Refused) as caught:
        rebuilding.rebuild(core, TENANT, jobs=1)
    assert caught.value.code == "rebuild.busy"
    assert core.engines.adopted == []
