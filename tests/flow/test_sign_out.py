"""Signing out holds on every machine: it stands in the acts, which each reads at their head."""

from archive_service.access.identified import Identified
from archive_service.tenant_services import ActsAuthority
from tests.unit.core_world import Archive


def authority(archive: Archive) -> ActsAuthority:
    """Of a process of its own."""
    return ActsAuthority(archive.acts(), archive.world.clock, False)


def test_a_session_that_was_signed_out_is_over_for_a_process_that_knew_it_and_for_a_new_one() -> None:
    archive = Archive()
    here, there = authority(archive), authority(archive)
    assert not there.signed_out("s1")
    here.sign_out("s1", "idp:anne", "2026-11-27T12:00:00.000000Z")
    assert there.signed_out("s1")
    assert authority(archive).signed_out("s1")
    assert not there.signed_out("s2")


def test_the_acts_name_no_session_by_its_id() -> None:
    archive = Archive()
    one = authority(archive)
    one.sign_out("secretsession", "idp:anne", "2026-11-27T12:00:00.000000Z")
    assert "secretsession" not in repr(one.acts.sessions)


def test_sessions_that_are_over_anyway_are_forgotten_in_time() -> None:
    archive = Archive()
    sessions = authority(archive).acts.sessions
    for number in range(10_001):
        at = f"2026-01-01T00:00:00.{number:06}Z"
        sessions.take({"act": "session.end", "session": f"{number}", "ends": at, "at": at}, number)
    assert len(sessions.ended) < 10_001


def test_a_token_is_no_session() -> None:
    assert Identified("anne", "t", frozenset()).session is None
