"""Leases of machines: a successor here takes up at once what died here; another machine waits for silence."""

from datetime import timedelta
from pathlib import Path

from archive_service.places.leases import FileLeases, KeyPlaceLeases
from archive_service.places.machine_leases import MachineLeases, machine_name
from archive_service.vault.stores.memory import MemoryKeyPlace
from tests.unit.core_world import TestClock

TAKEOVER = timedelta(seconds=60)


class Machines:
    """Processes on several machines over one key place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = MemoryKeyPlace()
        self.clock = TestClock()

    def process(self, machine: str) -> MachineLeases:
        run = self.folder / machine
        shared = KeyPlaceLeases(self.place, TAKEOVER, self.clock, writer=machine_name(run), renewing=False)
        return MachineLeases(FileLeases(run), shared)

    def killed(self, process: MachineLeases) -> None:
        """The kernel lets go of its files; what stands in the key place stays."""
        process._here.close()


def test_processes_of_one_machine_keep_apart(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    first, second = machines.process("one"), machines.process("one")
    assert first.take("slot") and first.take("slot")
    assert not second.take("slot")


def test_a_successor_here_need_not_wait(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    first = machines.process("one")
    assert first.take("slot")
    machines.killed(first)
    assert machines.process("one").take("slot")


def test_another_machine_waits_for_silence(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    first, other = machines.process("one"), machines.process("two")
    assert first.take("slot")
    machines.killed(first)
    assert not other.take("slot")
    machines.clock.now += TAKEOVER + timedelta(seconds=1)
    assert other.take("slot")
    assert not machines.process("one").take("slot")


def test_what_is_let_go_is_free_at_once(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    first = machines.process("one")
    assert first.take("slot")
    first.close()
    assert machines.process("two").take("slot")


def test_a_machine_keeps_its_name_and_loses_it_with_its_folder(tmp_path: Path) -> None:
    name = machine_name(tmp_path / "run")
    assert machine_name(tmp_path / "run") == name
    assert machine_name(tmp_path / "other") != name
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["machine"]
