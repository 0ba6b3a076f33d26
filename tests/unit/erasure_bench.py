"""An archive in memory whose mails are forgotten: for the tests of erasure."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from archive_service.ledger.acts import Acts
from archive_service.ledger.capture_writer import Captured
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import read_entry
from archive_service.model.grounds import EraseGround
from archive_service.vault.keyring import Keyring
from archive_service.vault.rewrap import in_use, rewrap
from archive_service.vault.stores.memory import MemoryKeyPlace
from retention.erasure import Capture, ErasureBatch, ErasureParts, Outcome, ask
from tests.unit.core_world import PATIENCE, Archive

BASIS = "GDPR article 17(1)"


@dataclass
class Erasing:
    """``sent``: every mail that was acknowledged, by where it stands."""

    archive: Archive = field(default_factory=Archive)
    sent: dict[str, tuple[Captured, bytes]] = field(default_factory=dict)

    def send(self, *mails: bytes) -> list[Captured]:
        writer = self.archive.writer()
        try:
            waiting = [(writer.submit(self.archive.draft(), mail), mail) for mail in mails]
            done = [(future.result(PATIENCE), mail) for future, mail in waiting]
        finally:
            writer.close()
        self.sent.update({captured.capture: (captured, mail) for captured, mail in done})
        return [captured for captured, _ in done]

    def next_day(self, days: int = 1) -> None:
        self.archive.world.clock.now += timedelta(days=days)

    def acts(self) -> Acts:
        acts = self.archive.acts()
        acts.refresh()
        return acts

    def ask(self, *captured: Captured, ground: EraseGround = EraseGround.REQUEST) -> str:
        captures = [Capture(each.log, each.seq, each.capture) for each in captured]
        return ask(self.acts(), captures, ground, BASIS, "dpo")[0]

    def batch(
        self, *, passed: Callable[[int], bool] = lambda _: True, grace: timedelta = timedelta(hours=1)
    ) -> ErasureBatch:
        """As a new process has it."""
        world = self.archive.world
        return ErasureBatch(
            ErasureParts(
                vault=world.vault(self.archive.owner),
                acts=self.archive.acts(),
                kms=world.kms,
                policy=world.policy,
                passed=passed,
                rewrap=lambda: self._rewrap(),
                in_use=lambda: in_use(world.keys, world.kms.provider),
                grace=grace,
            )
        )

    def _rewrap(self) -> None:
        rewrap(self.archive.world.keys, self.archive.world.kms)

    def run(self, **how: Any) -> Outcome:
        today_too = how.pop("today_too", False)
        return self.batch(**how).run(today_too=today_too)

    def readable(self, captured: Captured, keyring: Keyring | None = None) -> bytes:
        """What opens now, with nothing cached. Raises what reading raises."""
        world = self.archive.world
        keyring = keyring or world.keyring(self.archive.owner)
        fields = read_entry(world.objects, captured.log, captured.seq).fields
        return open_capture(world.objects, keyring, captured.log, fields).raw

    def places(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """A backup of both key places."""
        first, second = (deepcopy(place._records) for place in self.archive.world.places)
        return first, second

    def restore(self, place: MemoryKeyPlace, records: dict[str, bytes]) -> None:
        """Put a place back as it was."""
        place._records = dict(records)
