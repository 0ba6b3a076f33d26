"""Leases as session locks of PostgreSQL: one holder, gone with its process, never believed after a break."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from archive_service.catalog.advisory import AdvisoryLeases
from archive_service.model.errors import Invalid, StoreDenied, StoreError
from tests.services.postgres import new_owner, own_postgres, postgres_url

__all__ = ["own_postgres", "postgres_url"]

PATIENCE = 30.0


@pytest.fixture
def opening(postgres_url):
    opened = []

    def open_one(url=postgres_url):
        opened.append(AdvisoryLeases(url))
        return opened[-1]

    yield open_one
    for leases in opened:
        leases.close()


@pytest.fixture
def name():
    return f"follower/{new_owner()}"


def taken_soon(leases, name):
    """The server lets go of a session that ended in its own time."""
    tries = iter(range(100_000))
    while not leases.take(name):
        next(tries)
    return True


def test_postgres_a_lease_has_one_holder(opening, name):
    one, other = opening(), opening()
    assert one.take(name)
    assert one.take(name)
    assert not other.take(name)
    assert other.take(f"{name}-another")
    one.release(name)
    one.release(name)
    assert other.take(name)
    assert not one.take(name)
    other.close()
    assert taken_soon(one, name)


def test_postgres_a_holder_that_was_killed_is_followed(postgres_url, opening, name):
    program = (
        "import sys\n"
        "from archive_service.catalog.advisory import AdvisoryLeases\n"
        "leases = AdvisoryLeases(sys.argv[1])\n"
        "print(leases.take(sys.argv[2]), flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, postgres_url, name]
    standby = opening()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "True\n"
            assert not standby.take(name)
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait(PATIENCE)
    assert taken_soon(standby, name)


def cut(postgres_url, leases):
    """Its session, ended by the administrator."""
    pid = leases._connection.info.backend_pid
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        assert admin.execute("SELECT pg_terminate_backend(%s, 20000)", (pid,)).fetchone() == (True,)


def test_postgres_a_lease_is_not_believed_after_its_session_broke(postgres_url, opening, name):
    holder, standby = opening(), opening()
    assert holder.take(name) and holder.take(f"{name}-2")
    cut(postgres_url, holder)
    assert not holder.take(name)
    assert standby.take(name)
    assert not holder.take(name)  # tried, and another's
    assert not holder.take(f"{name}-2")  # free, but nobody knows what was meanwhile
    assert holder.take(f"{name}-2")


def test_postgres_a_break_while_nothing_is_held_loses_nothing(postgres_url, opening, name):
    leases = opening()
    assert leases.take(name)
    leases.release(name)
    cut(postgres_url, leases)
    assert leases.take(name)


def test_postgres_releasing_after_a_break_is_no_error(postgres_url, opening, name):
    leases = opening()
    assert leases.take(name)
    cut(postgres_url, leases)
    leases.release(name)
    assert opening().take(name)


def test_postgres_threads_of_one_holder_agree(opening, name):
    one, other = opening(), opening()
    together = threading.Barrier(8, timeout=PATIENCE)

    def take(n):
        leases = one if n % 2 else other
        together.wait()
        return leases, leases.take(name)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(take, range(8)))
    winners = {leases for leases, taken in found if taken}
    assert len(winners) == 1
    assert all(taken == (leases in winners) for leases, taken in found)


def test_postgres_a_server_that_was_killed_takes_every_lease_with_it(own_postgres, name):
    holder, other = AdvisoryLeases(own_postgres.url()), AdvisoryLeases(own_postgres.url())
    assert holder.take(name)
    own_postgres.kill()
    assert not holder.take(name)
    for leases in (holder, other):
        with pytest.raises(StoreError) as caught:
            leases.take(name)
        assert caught.value.code == "catalog.unavailable"
    own_postgres.start()
    assert other.take(name)
    assert not holder.take(name)
    holder.close()
    other.close()


def test_postgres_a_vanished_machine_is_noticed_by_keepalives_both_ways(opening, name):
    leases = opening()
    assert leases.take(name)
    wanted = {
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "3",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "15000",
    }
    shown = {each: leases._connection.execute(f"SHOW {each}").fetchone()[0] for each in wanted}
    assert shown == wanted
    ours = leases._connection.info.get_parameters()
    assert (ours["keepalives_idle"], ours["keepalives_interval"], ours["keepalives_count"]) == ("5", "3", "3")
    assert ours["tcp_user_timeout"] == "15000"


def test_postgres_a_wrong_password_or_url_is_a_clear_error(own_postgres, name):
    with pytest.raises(StoreDenied) as caught:
        AdvisoryLeases(own_postgres.url(password="geheim")).take(name)
    assert caught.value.code == "catalog.denied"
    assert "geheim" not in str(caught.value)
    with pytest.raises(Invalid):
        AdvisoryLeases("mysql://x")


def test_postgres_a_holder_that_falls_silent_is_relieved(postgres_url, name):
    holder, standby = AdvisoryLeases(postgres_url, silence=0.1), AdvisoryLeases(postgres_url)
    assert holder.take(name)
    assert taken_soon(standby, name)
    assert not holder.take(name)
    assert not holder.take(name)
    holder.close()
    standby.close()
