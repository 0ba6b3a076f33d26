"""Compartments: sealed parts of a tenant, each an owner of its own, and mail that is moved into one."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from archive_service.access.cases import grant_act
from archive_service.bootstrap import Core, Tenant, add_source, make_owner
from archive_service.compartments.adopting import adopted
from archive_service.compartments.carrying import Carried, Terms, leave
from archive_service.ledger.capture_writer import CaptureDraft, CaptureWriter
from archive_service.ledger.strays import Copy
from archive_service.model.errors import NotFound, Overloaded
from archive_service.model.mail import CaptureRecord, Source, SourceKind
from archive_service.vault.key_layout import new_batch, sealed_name
from archive_service.vault.stores.base import Lock, LockMode
from retention.erasure import Capture

_PIECE = 256 * 1024
_LEASE = "reseal"
_one_at_a_time = threading.Lock()


def compartments_of(core: Core, parent: str) -> list[Tenant]:
    """A tenant's compartments."""
    return [tenant for tenant in core.tenants(0) if tenant.acts.parent == parent]


def compartment_of(core: Core, parent: str, owner: str) -> Tenant:
    """A tenant's compartment with an owner id. Raises NotFound, the same for one that is another's."""
    found = core.tenant_of(owner)
    if found is None or found.acts.parent != parent:
        raise NotFound("no such compartment", code="compartment.unknown")
    return found


def make_compartment(
    core: Core, parent: Tenant, name: str, approval: str, by: str, grants: Sequence[Mapping[str, Any]]
) -> Tenant:
    """A compartment, with the grants of those who work in it; durable on return. Called again for the same approval, it
    goes on where it was cut off. Raises Refused when the name is taken, Invalid when it is senseless."""
    with _one_at_a_time:  # the lease that a new owner takes keeps other processes out, not other threads
        made = next((each for each in compartments_of(core, parent.id) if each.acts.asked == approval), None)
        if made is None:
            full = f"{parent.name}/{name}"
            made = make_owner(core, full, kind="compartment", parent=parent.id, asked=approval)
        _give(made, grants, by, approval)
    return made


def _give(made: Tenant, grants: Sequence[Mapping[str, Any]], by: str, approval: str) -> None:
    made.acts.refresh()
    given = {(grant.subject, grant.role) for grant in made.acts.grants.all()}
    for grant in grants:
        if (grant["subject"], grant["role"]) not in given:
            act = grant_act(grant, by=by, reason=f"with the compartment ({approval})")
            made.acts.append(lambda _, act=act: act)  # type: ignore[misc]


@contextmanager
def alone(core: Core) -> Iterator[None]:
    """While nobody else moves mail into compartments: what is moved is seen to be barred before it is moved again.
    Raises Overloaded (``reseal.busy``) while another process does."""
    with _one_at_a_time:
        if not core.leases.take(_LEASE):
            raise Overloaded("another process moves mail into a compartment", code="reseal.busy")
        try:
            yield
        finally:
            core.leases.release(_LEASE)


@dataclass(frozen=True)
class Moving:
    """A capture of the tenant that is to go into a compartment, as it was received. ``kind``: of its source; ``ends``:
    until when it may be withdrawn for what is written there (RFC 3339)."""

    of: Capture
    kind: SourceKind
    record: CaptureRecord
    raw: bytes
    by: str
    ends: str


class Resealer:
    """Writes captures into compartments as they were received. Not thread-safe; close it."""

    def __init__(self, core: Core, parent: str) -> None:
        self._core = core
        self._parent = parent
        self._writers: dict[str, CaptureWriter] = {}

    def into(self, owner: str, moving: Moving, terms: Terms) -> Carried:
        """The capture in the compartment, envelope and time of receipt as they were, under its terms; durable on
        return. What an earlier try has left there is taken for it, and what one has left in another compartment is left
        to go. Raises NotFound, ArchiveError."""
        compartment = compartment_of(self._core, self._parent, owner)
        compartment.acts.refresh()
        self.leave(moving.of, moving.by, but=owner)
        found = self._adopted(compartment, moving.of.id)
        if found is not None:
            carried = Carried(compartment, moving.of, found.capture, found.log, moving.ends, moving.by)
            carried.say(terms, self._core.clock, first=True)
            carried.hold(terms)
            return carried
        return self._written(compartment, moving, terms)

    def _adopted(self, compartment: Tenant, of: str) -> Copy | None:
        if of not in compartment.acts.strays.known:
            return None
        writer = self._writers.pop(compartment.id, None)
        if writer is not None:
            writer.close()  # its slot may have to be claimed for what is chained
        return adopted(self._core, compartment, of)

    def _written(self, compartment: Tenant, moving: Moving, terms: Terms) -> Carried:
        """Said first, then written under the name that was said."""
        source = self._source(compartment, moving.kind)
        writer, clock = self._writer(compartment), self._core.clock
        log, batch = writer.open(), new_batch(clock())
        carried = Carried(compartment, moving.of, sealed_name(batch, 0), str(log), moving.ends, moving.by)
        carried.say(terms, clock, first=True)
        record = moving.record.model_copy(update={"capture": "", "source": source.id})
        intake = Lock(LockMode(source.lock_mode), clock() + timedelta(days=source.intake_days))
        lock = replace(intake if terms.lock is None else intake.lengthened(terms.lock), hold=terms.held)
        draft = CaptureDraft(record, lock, compartment.acts.seen)
        raw = moving.raw
        pieces = (raw[start : start + _PIECE] for start in range(0, max(len(raw), 1), _PIECE))
        writer.write_stream(draft, pieces, batch)
        return carried

    def leave(self, of: Capture, by: str, but: str = "") -> None:
        """Where an earlier try has gone into a compartment that is not meant any more: no copy is left but in the one
        that is, if any. Raises ArchiveError."""
        for other in self._core.tenants():
            if other.acts.parent != self._parent or other.id == but:
                continue
            other.acts.refresh()
            known = other.acts.strays.known.get(of.id)
            if known is not None and not known.left:
                leave(other, of, by, self._core.clock)

    def close(self) -> None:
        """Let the writers go."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _writer(self, compartment: Tenant) -> CaptureWriter:
        if compartment.id not in self._writers:
            core = self._core
            slots = core.slots(compartment.id, "capture")
            self._writers[compartment.id] = CaptureWriter(
                core.store, compartment.keyring, slots, core.clock, core.writer_limits
            )
        return self._writers[compartment.id]

    def _source(self, compartment: Tenant, kind: SourceKind) -> Source:
        """Of the same kind, so that it is unwrapped as it was."""
        name = f"resealed ({kind})"
        for source in compartment.acts.sources():
            if source.name == name:
                return source
        return add_source(compartment, name, kind, self._core.settings.smtp_domain)[0]
