"""An archive under a clock of its own, with a compartment into which strays are moved; faults where a test says so."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from archive_service.access.events import Actor, RoleName
from archive_service.bootstrap import Tenant
from archive_service.catching_up import catch_up
from archive_service.disposal.disposing import advance
from archive_service.disposal.erasing import run_batch
from archive_service.ledger.approvals import Verdict
from archive_service.ledger.reader import LogReader
from archive_service.ledger.trusted_notes import TrustedNotes
from archive_service.model.clock import rfc3339
from archive_service.tenant_services import open_tenant
from archive_service.vault.stores.base import Lock
from archive_service.vault.stores.faults import FaultPlan, FaultyKeyPlace, FaultyStore
from ingest.parser_pool import ParserPool
from tests.histories.model import YEARS, Mail
from tests.histories.world import World, schedule

ROB, ZOE = RoleName.COMPLIANCE_OFFICER, RoleName.LEGAL


class StrayWorld:
    """The tenant's mail is of the kinds of ``tests.histories.model``, each kept by its own class."""

    def __init__(self, folder: Path, pool: ParserPool) -> None:
        self.world = World(folder, pool)
        self.pool = pool
        self.mails: dict[str, Mail] = {}
        self.world.make()
        self.first = self.made("alertes")

    def made(self, name: str) -> str:
        """A new compartment's owner id."""
        officers = [{"subject": who, "role": "compliance_officer"} for who in ("max", "lou")]
        return str(self.decided("compartment.make", {"name": name, "officers": officers})["compartment"])

    # --- the tenant

    @property
    def now(self) -> str:
        return rfc3339(self.world.now)

    @property
    def tenant(self) -> Tenant:
        return self.world.tenant

    def decided(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        return self.world.decided(action, request)

    def take(self, kind: str, days: int = 0) -> str:
        """One mail of a kind, sent so many days ago; its capture."""
        mail = Mail(kind, len(self.mails), self.world.now - timedelta(days=days))
        self.world.take(mail)
        self.mails[mail.captures[0]] = mail
        return mail.captures[0]

    def asked(self, *captures: str, into: str | None = None) -> str:
        """A move, asked for by one and approved by another."""
        desk = self.world.services.four_eyes
        request = {"captures": list(captures), "compartment": into or self.first}
        asked = desk.ask(Actor("rob", ROB, self.tenant.id), "reseal", request, "égarée")
        desk.decide(Actor("zoe", ZOE, self.tenant.id), asked.id, Verdict.APPROVED, "vu")
        return asked.id

    def carry_out(self, approval: str) -> dict[str, Any]:
        return self.world.services.four_eyes.carry_out(approval)

    def move(self, *captures: str, into: str | None = None) -> dict[str, Any]:
        return self.carry_out(self.asked(*captures, into=into))

    # --- the compartment

    def compartment(self, owner: str | None = None) -> Tenant:
        found = self.world.core.tenant_of(owner or self.first)
        assert found is not None
        found.acts.refresh()
        return found

    def sealed(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Asked and approved by the compartment's own two people."""
        compartment = self.compartment()
        opened = open_tenant(self.world.core, compartment)
        try:
            desk = opened.services.four_eyes
            asked = desk.ask(Actor("max", ROB, compartment.id), action, request, "why")
            desk.decide(Actor("lou", ZOE, compartment.id), asked.id, Verdict.APPROVED, "vu")
            return desk.carry_out(asked.id)
        finally:
            opened.close()

    def copies(self, capture: str, owner: str | None = None) -> list[str]:
        """What a capture of the tenant was written as in a compartment, and is there for whoever looks."""
        compartment = self.compartment(owner)
        known = compartment.acts.strays.known.get(capture)
        said = {each.capture for each in known.copies} if known is not None else set()
        written = [
            str(entry.fields["capture"])
            for log in self.world.core.census.logs(compartment.id, 0.0)
            for entry in LogReader(self.world.core.store, log).entries()
            if entry.type == "capture"
        ]
        assert len(written) == len(set(written))
        return [each for each in written if each in said and not compartment.acts.erasures.barred(each)]

    def the_copy(self, capture: str) -> str:
        (copy,) = self.copies(capture)
        return copy

    def captures_of(self, owner: str | None = None) -> list[str]:
        """All that the compartment's catalog shows."""
        live = self.world.core.engines.live(owner or self.first)
        try:
            rows = live.catalog.changed(0, live.catalog.position().rows)
            return [each.id for row in rows for each in row.captures]
        finally:
            live.close()

    def alive(self, capture: str) -> bool:
        """Whether the key of a copy opens its object."""
        here, self.world.tenant = self.world.tenant, self.compartment()
        try:
            return self.world.alive(capture)
        finally:
            self.world.tenant = here

    def lock_of(self, copy: str) -> Lock:
        """Of the copy's object in the store."""
        for log in self.world.core.census.logs(self.first, 0.0):
            for entry in LogReader(self.world.core.store, log).entries():
                if entry.fields.get("capture") == copy:
                    return self.world.core.store.stat(str(entry.fields["object"]["key"]))[0][1]
        raise AssertionError("no such copy")

    def retention(self, copy: str) -> dict[str, Any]:
        """What the compartment says of how long it keeps a copy; nothing of one that it does not show."""
        opened = open_tenant(self.world.core, self.compartment())
        try:
            row = opened.services.catalog.capture(copy)
            return {} if row is None else dict(opened.services.schedules.of([row]))
        finally:
            opened.close()

    # --- time and processes

    def follow(self) -> None:
        """Every owner to its head."""
        for tenant in self.world.core.tenants(0):
            tenant.acts.refresh()
            catch_up(self.world.core, tenant, self.pool)

    def run(self) -> None:
        """Whatever may go in the compartment goes: a run by its schedule, batches, what is asked for."""
        compartment = self.compartment()
        for _ in range(2):
            self.follow()
            advance(self.world.core, compartment)
            self.follow()
            run_batch(self.world.core, compartment, today_too=True)

    def later(self, days: float) -> None:
        self.world.now += timedelta(days=days)

    @contextmanager
    def faults(self) -> Iterator[FaultPlan]:
        """Calls to the store and to both key places go by this plan; afterwards every process has ended."""
        plan, core = FaultPlan(), self.world.core
        assert isinstance(core.store, TrustedNotes)
        core.store.inner = FaultyStore(core.store.inner, plan)
        first, second = core.keys.places
        core.keys.places = (FaultyKeyPlace(first, plan), FaultyKeyPlace(second, plan))
        try:
            yield plan
        finally:
            self.world.crash()

    def close(self) -> None:
        self.world.close()


__all__ = ["YEARS", "StrayWorld", "schedule"]
