"""Forgetting: asked for by an act, barred at once, carried out in batches, and proven (GDPR article 17).

    ask     an act names captures and a ground; from then on no read shows them
    batch   when their day is over: close their generations and every log's use of them, say so (``erasure.begin``),
            rewrap the survivors, reseal the day keys, delete the old ones, say so (``erasure.done``)
    grace   later the KMS key version that backups would need is destroyed, and that is said too (``erasure.kms``)

Everything is judged by the acts at their head, never by what a caller says; an interrupted batch is finished by the
next run.
"""

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from archive_service.ledger.acts import Acts
from archive_service.ledger.appender import LedgerPolicy
from archive_service.ledger.erasures import Asked, Batch
from archive_service.ledger.payloads import PayloadVault
from archive_service.ledger.reader import Place
from archive_service.model.clock import rfc3339
from archive_service.model.errors import Invalid, KeyUnavailable, NotFound, Refused, StoreError
from archive_service.model.grounds import EraseGround, KeepGround
from archive_service.vault.destruction import Destroyer, Permit
from archive_service.vault.key_layout import LogId, object_key
from archive_service.vault.kms import Kms
from retention.closing import close_logs
from retention.precedence import Case, decide

_log = logging.getLogger(__name__)
_RUNS = 3


@dataclass(frozen=True)
class Capture:
    """A capture by its place."""

    log: LogId
    seq: int
    id: str

    def plain(self) -> dict[str, Any]:
        """As acts have it."""
        return {"log": str(self.log), "seq": self.seq, "capture": self.id}


@dataclass
class Outcome:
    """What a run did. ``kept``: captures that a ground to keep protects, by that ground's words; ``waiting``: whose day
    is not over, whose act the projections have not passed, or that a hold was not yet held against; ``destroyed``: key
    versions of the KMS; ``missing``: whose key record is in neither place now: their erasure waits until it is back;
    ``verify`` names it."""

    erased: int = 0
    survivors: int = 0
    waiting: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    destroyed: list[str] = field(default_factory=list)
    missing: int = 0

    def keep(self, reason: Refused) -> None:
        """Count a capture that is kept."""
        self.kept[str(reason)] = self.kept.get(str(reason), 0) + 1


@dataclass(frozen=True)
class ErasureParts:
    """What a batch works with. ``passed``: whether order log and projections are past an acts-log position; ``rewrap``:
    brings every table key and secret of every owner under the KMS's newest version; ``in_use``: the versions of this
    key service that any record of the key store still names. ``grace``: from the end of a batch to the destruction of
    its old version.
    ``fence``: raises when another process may be at work on batches (see ``retention.fence``). ``undecided``: whether a
    hold has not yet been held against a capture; asked again at the acts' head. ``behind``: how much earlier than ours
    the time is by which keeps end."""

    vault: PayloadVault
    acts: Acts
    kms: Kms
    policy: LedgerPolicy
    passed: Callable[[int], bool]
    rewrap: Callable[[], None]
    in_use: Callable[[], Iterable[str]]
    grace: timedelta = timedelta(hours=24)
    workers: int = 1
    fence: Callable[[], None] = lambda: None
    undecided: Callable[[Asked], bool] = lambda asked: False
    behind: timedelta = timedelta()


def ask(
    acts: Acts,
    captures: Sequence[Capture],
    ground: EraseGround,
    basis: str,
    by: str,
    spend: Callable[[], str] | None = None,
) -> tuple[str, int]:
    """Have captures forgotten: barred from every read once this returns (durable). The erasure's id, and the acts-log
    position that has passed it. ``basis``: the article of law or the order; ``spend``: gives the id of the approval
    under which it is done, valid at the head, or raises. Raises Invalid, and what ``spend`` raises."""
    if not captures or not basis.strip():
        raise Invalid("an erasure names captures and its legal basis", code="erasure.invalid")
    erasure = "e" + secrets.token_hex(8)
    fields = {"erasure": erasure, "ground": str(ground), "basis": basis, "by": by}
    plain = [capture.plain() for capture in captures]

    def act(_: Place) -> dict[str, Any]:
        approved = {"approval": spend()} if spend is not None else {}
        return {"version": 1, "act": "erasure.ask", **fields, "captures": plain, **approved}

    return erasure, acts.append(act) + 1


def withdraw(
    acts: Acts,
    capture: Capture,
    by: str,
    spend: Callable[[], str] | None = None,
    check: Callable[[], None] = lambda: None,
) -> int:
    """Bar a capture that was never to be archived, or lies in a compartment now; its key goes with the next batch. The
    acts-log position that has passed it; durable on return. All such acts are of one size. ``check``: called at the
    acts' head, raises to refuse. Raises what ``spend`` and ``check`` do."""
    fields = {"erasure": "e" + secrets.token_hex(8), "of": capture.plain(), "by": by}

    def act(_: Place) -> dict[str, Any]:
        check()
        approved = {"approval": spend()} if spend is not None else {}
        return {"version": 1, "act": "capture.withdraw", **fields, **approved}

    return acts.append(act) + 1


class ErasureBatch:
    """Runs an owner's batches. One process at a time."""

    def __init__(self, parts: ErasureParts) -> None:
        self._parts = parts
        self._acts = parts.acts
        self._store = parts.vault.store
        self._keyring = parts.vault.keyring
        self._clock = parts.vault.clock
        self._destroyer = Destroyer(parts.vault.keyring, workers=parts.workers, fence=parts.fence)

    def run(self, *, today_too: bool = False) -> Outcome:
        """Finish what was begun, then erase what may go, then destroy key versions whose grace is over. ``today_too``
        closes today's generation as well: every writer loses its slot once, and its senders hear 4xx.

        Raises ArchiveError; the next run goes on.
        """
        outcome = Outcome()
        self._acts.refresh()
        for batch in self._acts.erasures.unfinished():
            self._finish(batch, outcome)
        batch_now = self._begin(outcome, today_too=today_too)
        if batch_now is not None:
            self._carry_out(batch_now, outcome)
        self.sweep()
        self._end_grace(outcome)
        return outcome

    def sweep(self) -> int:
        """Take out again what a frozen writer, or a backup, has put back of finished batches; how many records. Raises
        ArchiveError."""
        erasures = self._acts.erasures
        generations, tables = erasures.generations(finished=True), erasures.tables(finished=True)
        return self._destroyer.sweep_again(sorted(generations), sorted(tables))

    def _finish(self, batch: Batch, outcome: Outcome) -> None:
        """A batch that was cut off. A hold laid upon an object since it began, in the store itself, stops it until that
        hold is lifted; acts cannot (``place_keep``)."""
        try:
            self._carry_out(batch, outcome)
        except Refused as error:
            _log.warning("an erasure batch waits: %s", error.code)
            outcome.keep(error)

    # --- what may go ----------------------------------------------------------------------------------

    def _permit(self, asked: Asked) -> Permit:
        """The one decision, by the acts as read and the store's own holds and locks. Raises Refused."""
        if self._acts.incidents.open:
            raise Refused("an incident is open: no key is destroyed", code="incident.open")
        now_asked = self._acts.erasures.asked.get(
            asked.capture
        )  # an order may have come, or ended, meanwhile
        if now_asked is None:
            raise Refused("nobody asks for it to be forgotten any more", code="erasure.lifted")
        asked = now_asked
        now = rfc3339(self._clock() - self._parts.behind)
        keeps = self._acts.erasures.keeps_of(asked.capture, now)
        keeps += self._keeps_of_store(asked)
        return decide(Case(str(asked.log), asked.capture, asked.ground, keeps))

    def _keeps_of_store(self, asked: Asked) -> list[KeepGround]:
        """A hold upon the object is a hold whatever the acts say."""
        try:
            versions = self._store.stat(object_key(asked.log, asked.capture))
        except NotFound:
            return []
        return [KeepGround.HOLD] if any(lock.hold for _, lock in versions) else []

    def _begin(self, outcome: Outcome, *, today_too: bool) -> Batch | None:
        """Choose, close, and say so; None when nothing may go now."""
        chosen: list[Asked] = []
        numbers: set[int] = set()
        for asked in self._acts.erasures.pending():
            found = self._ready(asked, outcome, today_too=today_too)
            if found is not None:
                chosen.append(asked)
                numbers.update(found)
        if not chosen or self._acts.erasures.unfinished():
            return None
        if numbers:
            self._close(sorted(numbers))
        return self._say_begun(chosen, sorted(numbers), outcome)

    def _ready(self, asked: Asked, outcome: Outcome, *, today_too: bool) -> list[int] | None:
        """The generations that hold the key of a capture that may go now (none: it is gone already); else None."""
        if self._acts.erasures.begun(asked.capture):
            return None
        if not self._parts.passed(asked.position):
            outcome.waiting += 1
            return None
        try:
            self._permit(asked)
        except Refused as error:
            outcome.keep(error)
            return None
        if self._parts.undecided(asked):
            outcome.waiting += 1
            return None
        try:
            found = self._destroyer.generations_of(asked.log, asked.capture)
        except (
            KeyUnavailable
        ):  # a backup may bring it back, under a generation that nobody would have destroyed
            outcome.missing += 1
            return None
        today = self._clock().date()
        if not all(each.rewrap or today_too or each.begins < today for each in found):
            outcome.waiting += 1
            return None
        return [each.number for each in found]

    def _close(self, numbers: Sequence[int]) -> None:
        """No writer begins to use these generations, and whoever does use one has lost its slot."""
        later = self._destroyer.ensure_later(self._clock().date(), numbers)
        self._destroyer.close(numbers)
        close_logs(self._parts.vault, self._acts, self._parts.policy, max(numbers), later)

    def _say_begun(self, chosen: Sequence[Asked], numbers: Sequence[int], outcome: Outcome) -> Batch | None:
        """The point of no return: an act, judged once more at the acts' head."""
        name = "b" + secrets.token_hex(8)
        tables = self._destroyer.tables() if numbers else []  # without generations nothing is sealed anew
        fields = {
            "batch": name,
            "generations": list(numbers),
            "tables": tables,
            "kms": self._destroyer.versions(tables),
        }

        def act(_: Place) -> dict[str, Any]:
            if self._acts.erasures.unfinished():
                raise Refused("another batch has begun meanwhile", code="erasure.busy")
            captures = [asked.capture for asked in chosen if self._still_permitted(asked, outcome)]
            if not captures:
                raise Refused("nothing of this batch may go any more", code="erasure.kept")
            return {"version": 1, "act": "erasure.begin", **fields, "captures": captures}

        try:
            self._acts.append(act)
        except Refused:
            return None
        return self._acts.erasures.batches[name]

    def _still_permitted(self, asked: Asked, outcome: Outcome) -> bool:
        try:
            self._permit(asked)
        except Refused as error:
            outcome.keep(error)
            return False
        if self._parts.undecided(asked):  # a hold was placed since it was chosen
            outcome.waiting += 1
            return False
        return True

    # --- carrying out ---------------------------------------------------------------------------------

    def _carry_out(self, batch: Batch, outcome: Outcome) -> None:
        """Every step may be repeated: a run that was cut off anywhere is finished by the next."""
        asked = self._acts.erasures.asked
        permits = [self._permit(asked[capture]) for capture in batch.captures]
        victims = self._rewrap(batch, permits, outcome)
        if victims:
            self._new_version(batch)
            self._destroyer.reseal(victims, batch.tables)
            self._destroyer.sweep(victims, batch.tables)
        self._parts.rewrap()
        destroy_after = rfc3339(self._clock() + self._parts.grace)
        self._acts.append(
            lambda _: {
                "version": 1,
                "act": "erasure.done",
                "batch": batch.id,
                "destroy_after": destroy_after,
            }
        )
        outcome.erased += len(batch.captures)
        _log.info("erasure batch: %d keys gone", len(batch.captures))

    def _rewrap(self, batch: Batch, permits: Sequence[Permit], outcome: Outcome) -> list[int]:
        """Every record under the batch's generations anew, and every key of the batch seen to be gone; the generations
        that nothing stands under any more. A key may have been moved since the batch began, by a run that was cut off:
        then the generation it stands under now, made by that run, goes too. Raises StoreError when one stays."""
        victims = list(batch.generations)
        for _ in range(_RUNS):
            if victims:
                outcome.survivors += self._destroyer.rewrap(victims, permits)
            left = {found for capture in batch.captures for found in self._stands_under(capture)}
            if not left:
                return victims
            if not batch.tables or not all(self._keyring.generation(number).rewrap for number in left):
                break
            victims = sorted({*victims, *left})
        raise StoreError("a key that was to go stands under another generation", code="erasure.unsettled")

    def _stands_under(self, capture: str) -> list[int]:
        """None, too, when the record has gone since the batch began: what a backup holds of it stands under a
        generation of the batch."""
        try:
            found = self._destroyer.generations_of(self._acts.erasures.asked[capture].log, capture)
        except KeyUnavailable:
            return []
        return [each.number for each in found]

    def _new_version(self, batch: Batch) -> None:
        """A KMS version that wraps nothing of what the batch leaves behind."""
        kms = self._parts.kms
        if f"{kms.provider}/{kms.versions()[-1]}" in batch.kms:
            kms.rotate()

    def _end_grace(self, outcome: Outcome) -> None:
        """Key versions whose grace is over are destroyed; none while an incident is open."""
        if self._acts.incidents.open:
            return
        now = rfc3339(self._clock())
        for batch in list(self._acts.erasures.batches.values()):
            if batch.destroyed_at is not None or batch.destroy_after is None or batch.destroy_after > now:
                continue
            self._parts.rewrap()
            if self._destroy_versions(batch, outcome):
                self._say_destroyed(batch, rfc3339(self._clock()))  # not before: until now a backup opened it

    def _destroy_versions(self, batch: Batch, outcome: Outcome) -> bool:
        """Destroy the key versions of a batch, and every older one that nothing is under: some services destroy the
        oldest only. Whether none of the batch's is left."""
        kms = self._parts.kms
        ours = {version for version in batch.kms if version.startswith(f"{kms.provider}/")}
        if len(ours) < len(batch.kms):
            _log.error("an erasure batch waits for key versions of another key service to be destroyed there")
            return False
        names = {version.removeprefix(f"{kms.provider}/") for version in ours}
        used = set(self._parts.in_use())
        versions = kms.versions()
        last = max((place for place, version in enumerate(versions) if version in names), default=-1)
        for version in versions[: last + 1]:
            if version in used:
                _log.error("key version %s is still in use", version)
                return False
            try:
                kms.destroy(version)
            except Refused as error:
                _log.error("key version %s stays: %s", version, error.code)
                return False
            outcome.destroyed.append(version)
        return True

    def _say_destroyed(self, batch: Batch, now: str) -> None:
        self._acts.append(lambda _: {"version": 1, "act": "erasure.kms", "batch": batch.id, "at": now})
