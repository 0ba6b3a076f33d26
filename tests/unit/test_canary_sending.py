"""Who sends canaries, and what is known of them when the machine, its file or the mail server's answer is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from archive_service.alarms import names
from archive_service.alarms.tally import Tally
from archive_service.alarms.watch import Watch
from archive_service.bootstrap import add_source, open_core
from archive_service.model.canaries import is_canary
from archive_service.model.mail import SourceKind
from archive_service.settings import Settings
from archive_service.source_watching import set_canary
from tests.flow.archive_fixtures import done
from tests.services.alarm_receivers import MailSink, sink
from tests.services.tools import free_port

__all__ = ["sink"]  # fixture


class Machine:
    """One that evaluates alarms over an archive."""

    def __init__(self, data: Path) -> None:
        self.now = 100.0
        self.tally = Tally()
        self.watch = Watch(Settings(data=data), self.tally, monotonic=lambda: self.now)

    def once(self) -> None:
        """One evaluation, and every send that it began."""
        self.watch.once()
        self.watch._canaries._pool.submit(lambda: None).result(60)
        while self.watch._canaries._sending:
            self.watch._canaries._pool.submit(lambda: None).result(60)

    def failures(self) -> dict[str, float]:
        found = [each for each in self.tally.own() if each.metric == names.CANARY_FAILURES]
        return {str(each.label("code")): each.value for each in found}

    def close(self) -> None:
        self.watch._canaries.close()
        self.watch._close_core()


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    made: list[Machine] = []
    yield made
    for machine in made:
        machine.close()


def archive(data: Path, port: int) -> tuple[str, bytes]:
    """With a source whose canaries go to a port; the source's id and the tenant's identity key."""
    done("init", "--data", data, "--tenant", "acme")
    core = open_core(Settings(data=data))
    try:
        tenant = core.tenant("acme")
        source, _ = add_source(tenant, "feed", SourceKind.EXCHANGE, "archive.localhost")
        canary = {
            "host": "127.0.0.1", "port": port, "security": "none",
            "sender": "canary@example.org", "recipient": "ops@example.org",
        }  # fmt: skip
        set_canary(tenant, source.id, canary)
        return source.id, tenant.keyring.secret("identity")
    finally:
        core.close()


def test_one_machine_sends_and_after_a_restart_none_double(
    tmp_path: Path, sink: MailSink, machines: list[Machine]
) -> None:
    source, key = archive(tmp_path / "archive", sink.port)
    first, second = Machine(tmp_path / "archive"), Machine(tmp_path / "archive")
    machines += [first, second]
    first.once()
    mail = sink.next()
    assert is_canary(key, source, mail["Message-ID"])
    assert (mail["From"], mail["To"]) == ("canary@example.org", "ops@example.org")
    second.once()  # it does not evaluate what all machines see alike
    first.once()
    assert sink.mails.empty()
    first.close()
    again = Machine(tmp_path / "archive")
    machines.append(again)
    again.once()
    assert sink.mails.empty()
    again.now += 3600
    again.once()
    assert sink.next()["Message-ID"] != mail["Message-ID"]


def test_a_lost_book_costs_one_more_and_no_alarm(
    tmp_path: Path, sink: MailSink, machines: list[Machine]
) -> None:
    archive(tmp_path / "archive", sink.port)
    first = Machine(tmp_path / "archive")
    machines.append(first)
    first.once()
    names_seen = {sink.next()["Message-ID"]}
    first.close()
    (tmp_path / "archive" / "run" / "canaries.json").unlink()
    again = Machine(tmp_path / "archive")
    machines.append(again)
    again.once()
    names_seen.add(sink.next()["Message-ID"])
    assert len(names_seen) == 2


def test_a_book_that_cannot_be_written_sends_nothing(
    tmp_path: Path, sink: MailSink, machines: list[Machine]
) -> None:
    archive(tmp_path / "archive", sink.port)
    (tmp_path / "archive" / "run" / "canaries.new").mkdir()
    machine = Machine(tmp_path / "archive")
    machines.append(machine)
    machine.once()
    assert sink.mails.empty()
    assert machine.failures() == {"canary.book": 1}
    (tmp_path / "archive" / "run" / "canaries.new").rmdir()
    machine.once()
    assert sink.next()["Message-ID"]


def test_a_server_that_is_away_is_counted_and_tried_again(tmp_path: Path, machines: list[Machine]) -> None:
    archive(tmp_path / "archive", free_port())
    machine = Machine(tmp_path / "archive")
    machines.append(machine)
    machine.once()
    machine.once()
    assert machine.failures() == {"canary.unreachable": 2}
    machine.now += 20 * 60
    machine.once()
    used = [each.value for each in machine.tally.samples() if each.metric == names.CANARY_USED]
    assert used == [pytest.approx(20 / 15, abs=0.05)]
