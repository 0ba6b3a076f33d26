"""Service accounts: shown once, in a role's rights and until a day, revoked at once on every machine."""

import hashlib
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.access.accounts import Accounts, last_used, subject, tenant_of
from archive_service.access.events import AccessEvent, RoleName
from archive_service.access.identity import Identity
from archive_service.access.policy import Right, decide
from archive_service.ledger.accounts import Account
from archive_service.model.errors import ArchiveError, Denied, Invalid, NotFound, Refused, StoreError
from archive_service.vault.stores.faults import Effect
from tests.flow.api_fakes import FakeAccessLog
from tests.unit.core_world import Archive


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.world.close()


def desk(archive: Archive) -> Accounts:
    """As a machine of its own has it."""
    return Accounts(archive.acts(), archive.world.clock)


def later(archive: Archive, days: int = 30) -> datetime:
    return archive.world.clock() + timedelta(days=days)


def make(
    archive: Archive, name: str = "siem", only: tuple[str, ...] = ("access_log",)
) -> tuple[Account, str]:
    account, token, _ = desk(archive).make("anne", name, RoleName.AUDITOR, only, later(archive))
    return account, token


def refused(accounts: Accounts, token: str) -> None:
    with pytest.raises(Denied) as caught:
        accounts.holder(token)
    assert (caught.value.code, str(caught.value)) == ("auth.required", "the token is not valid")


def test_a_token_opens_what_its_account_may(archive: Archive) -> None:
    account, token = make(archive)
    who = desk(archive).holder(token)
    assert (who.subject, who.tenant) == ("account:siem", archive.owner)
    actor = who.acting(None)
    assert decide(actor, Right.ACCESS_LOG).allowed
    assert not decide(actor, Right.INTEGRITY).allowed  # the role has it, the account does not
    assert not decide(actor, Right.SEARCH).allowed
    assert subject(account) == "account:siem"


def test_the_acts_keep_a_digest_and_never_the_secret(archive: Archive) -> None:
    account, token = make(archive)
    secret = token.rpartition("_")[2]
    assert re.fullmatch(r"asa_[0-9a-f]{36}_[0-9a-f]{64}", token)
    assert account.secret == hashlib.sha256(secret.encode()).hexdigest()
    (act,) = [
        act
        for entry in archive.entries(archive.acts().log)
        if entry.type == "act"
        for act in [archive.acts().open(entry)]
        if act["act"] == "account.make"
    ]
    assert secret not in str(act)
    assert secret not in repr(account) and account.secret not in repr(account)


def test_an_account_made_on_one_machine_is_known_on_another_at_once(archive: Archive) -> None:
    theirs = desk(archive)
    theirs.all()
    _, token = make(archive)
    assert theirs.holder(token).subject == "account:siem"


def test_revoked_on_one_machine_it_opens_nothing_on_another_at_once(archive: Archive) -> None:
    account, token = make(archive)
    theirs = desk(archive)
    assert theirs.holder(token)
    desk(archive).revoke("bob", account.id, "lost")
    refused(theirs, token)
    assert theirs.state(theirs.find("siem")) == "revoked"


def test_revoking_twice_keeps_the_first_time(archive: Archive) -> None:
    account, _ = make(archive)
    first, _ = desk(archive).revoke("bob", account.id, "lost")
    archive.world.clock.pass_days(1)
    again, _ = desk(archive).revoke("bob", account.id, "again")
    assert again.revoked == first.revoked is not None


def test_nobody_is_let_in_while_the_acts_cannot_be_read(archive: Archive) -> None:
    """Else a cut line would keep a revoked account alive."""
    _, token = make(archive)
    accounts = desk(archive)
    assert accounts.holder(token)
    archive.world.plan.fail("read", prefix=f"ledger/{archive.owner}/acts/", times=None)
    with pytest.raises(StoreError):
        accounts.holder(token)
    archive.world.heal()
    assert accounts.holder(token)


def test_an_account_ends_by_itself(archive: Archive) -> None:
    account, token = make(archive)
    archive.world.clock.pass_days(29)
    assert desk(archive).holder(token)
    archive.world.clock.pass_days(1)
    refused(desk(archive), token)
    assert desk(archive).state(account) == "ended"


@pytest.mark.parametrize("days", [0, -1, 367], ids=["now", "before", "too-far"])
def test_an_end_is_needed_within_a_year(archive: Archive, days: int) -> None:
    with pytest.raises(Invalid) as caught:
        desk(archive).make("anne", "x", RoleName.AUDITOR, ["access_log"], later(archive, days))
    assert caught.value.code == "account.ends"


@pytest.mark.parametrize("name", ["", "A", "a b", "a:b", "x" * 65, "é", "-a", "a\n"])
def test_a_name_is_plain(archive: Archive, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        desk(archive).make("anne", name, RoleName.AUDITOR, ["access_log"], later(archive))
    assert caught.value.code == "account.name"


@pytest.mark.parametrize(
    ("role", "only"),
    [
        (RoleName.AUDITOR, []),
        (RoleName.AUDITOR, ["search"]),
        (RoleName.AUDITOR, ["access_log", "nonsense"]),
        (RoleName.ADMIN, ["accounts"]),
        (RoleName.ADMIN, ["approvals.decide"]),
        (RoleName.ADMIN, ["grants.change"]),
        (RoleName.ADMIN, ["public"]),
    ],
    ids=["none", "not-the-roles", "unknown", "accounts", "approvals", "grants", "public"],
)
def test_a_scope_is_of_the_roles_rights_and_of_no_second_persons(
    archive: Archive, role: RoleName, only: list[str]
) -> None:
    with pytest.raises(Invalid) as caught:
        desk(archive).make("anne", "x", role, only, later(archive))
    assert caught.value.code == "account.scope"


def test_a_name_never_stands_for_two_also_not_one_after_the_other(archive: Archive) -> None:
    account, _ = make(archive)
    desk(archive).revoke("anne", account.id, "over")
    with pytest.raises(Refused) as caught:
        make(archive)
    assert caught.value.code == "account.exists"


def test_two_machines_that_make_one_name_at_once(archive: Archive) -> None:
    """The act is judged at the head: the second hears of the first."""
    ours, theirs = desk(archive), desk(archive)
    ours.all(), theirs.all()
    ours.make("anne", "siem", RoleName.AUDITOR, ["access_log"], later(archive))
    with pytest.raises(Refused):
        theirs.make("bob", "siem", RoleName.AUDITOR, ["access_log"], later(archive))


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT], ids=["not-persisted", "persisted"])
@pytest.mark.parametrize("what", ["make", "revoke"])
def test_an_append_that_fails_ends_in_one_state(archive: Archive, effect: Effect, what: str) -> None:
    account, token = make(archive)
    accounts = desk(archive)
    accounts.all()
    archive.world.plan.fail("create", effect=effect, prefix=f"ledger/{archive.owner}/acts/batch/")
    if what == "revoke":
        try:
            accounts.revoke("anne", account.id, "lost")
        except ArchiveError:
            assert desk(archive).holder(token)  # who hears of a failure finds it as it was
        else:
            refused(desk(archive), token)
        return
    try:
        _, new, _ = accounts.make("anne", "other", RoleName.AUDITOR, ["access_log"], later(archive))
    except ArchiveError:
        assert [each.name for each in desk(archive).all()] == ["siem"]
    else:
        assert desk(archive).holder(new).subject == "account:other"


def test_an_unknown_account(archive: Archive) -> None:
    for ask in (desk(archive).find, lambda name: desk(archive).revoke("anne", name, "x")):
        with pytest.raises(NotFound):
            ask("nobody")


# --- forged tokens

SPOILED = {
    "another-secret": lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
    "another-account": lambda token: token[:24] + "0" * 16 + token[40:],
    "another-tenant": lambda token: "asa_" + "0" * 20 + token[24:],
    "longer": lambda token: token + "0",
    "shorter": lambda token: token[:-1],
    "newline": lambda token: token + "\n",
    "upper": lambda token: token.upper(),
    "digest": lambda token: token[:41] + hashlib.sha256(token[41:].encode()).hexdigest(),
    "no-secret": lambda token: token[:41],
    "unicode": lambda token: token[:-1] + "０",
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_forged_token_opens_nothing(archive: Archive, spoil: str) -> None:
    _, token = make(archive)
    accounts = desk(archive)
    refused(accounts, SPOILED[spoil](token))
    assert accounts.holder(token)
    refused(accounts, SPOILED[spoil](token))  # known by now


@given(st.text(max_size=120).map(lambda text: f"asa_{text}"))
def test_any_text_is_refused_and_breaks_nothing(text: str) -> None:
    assert tenant_of(text) is None or re.fullmatch(r"asa_[0-9a-f]{36}_[0-9a-f]{64}", text)
    for accounts in (None, lambda token: pytest.fail("asked")):
        if tenant_of(text) is None and accounts is None:
            with pytest.raises(Denied):
                Identity(None, (), accounts).identify(text)


# --- last use


def test_last_use_is_read_from_the_access_log(archive: Archive) -> None:
    account, _ = make(archive)
    other, _ = make(archive, "other")
    log = FakeAccessLog()
    for actor in ("account:siem", "anne"):
        log.record(AccessEvent(actor=actor, role="auditor", action="access_log.read"))
    found, whole = last_used(log, [account, other])
    assert found == {account.id: "2026-03-01T12:00:00.000000Z"}
    assert whole


def test_last_use_is_looked_for_so_far_and_no_further(archive: Archive) -> None:
    account, _ = make(archive)
    log = FakeAccessLog()
    log.events = [AccessEvent(actor="account:siem", role="auditor", action="search")]
    log.events += [AccessEvent(actor="anne", role="auditor", action="search")] * 20_000
    assert last_used(log, [account]) == ({}, False)
