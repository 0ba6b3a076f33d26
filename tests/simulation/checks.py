"""What must be true when a schedule has ended, whatever happened in it."""

from collections import Counter
from datetime import timedelta

from archive_service.ledger.entry import Entry, used_generation
from archive_service.ledger.payloads import open_capture
from archive_service.ledger.reader import LogReader, logs
from archive_service.ledger.recovery import Recovery
from archive_service.ledger.recovery_marks import MemoryMarks
from archive_service.model.errors import ArchiveError, KeyUnavailable, StoreError, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from tests.simulation.actors import erasure_batch
from tests.simulation.world import OWNER, POLICY, World


class Broken(AssertionError):
    """A promise that was not kept."""


def check(world: World) -> None:
    """Raises Broken. Finishes an erasure batch that was cut off, and recovers what is left, on calm stores, as the next
    start of the service would: until it is finished, day keys may be sealed anew in one place only, and nobody writes
    under these."""
    world.hub.now += timedelta(days=2)
    try:
        acts = world.acts()
        acts.refresh()
        if acts.erasures.unfinished():
            erasure_batch(world).run()
        found = Recovery(world.vault(), world.acts().refresh, POLICY, MemoryMarks()).run()
    except ArchiveError as error:
        raise Broken(f"the next start on calm stores fails: {error.code}: {error}") from error
    read = {log: _read(world, log) for log in logs(world.objects, OWNER)}
    _captures_once(world, read)
    _no_orphans(world, read, set(found.reported))
    for log, entries in read.items():
        _generations(log, entries)
    _acts(world, read[LogId(OWNER, "acts")])


def _read(world: World, log: LogId) -> list[Entry]:
    """One chain from the first entry to the last, seq without gap, and no batch beside it."""
    reader, first, found = LogReader(world.objects, log), set[str](), list[Entry]()
    try:
        while True:
            start = reader.place.seq
            batch = reader.next_batch()
            if batch is None:
                break
            first.add(key_layout.batch_key(log, start))
            found.extend(batch)
    except Tampered as error:
        raise Broken(f"{log.name} is no chain: {error}") from error
    if [entry.seq for entry in found] != list(range(len(found))):
        raise Broken(f"{log.name} has gaps")
    names = {stored.key for stored in world.objects.list(f"{key_layout.log_prefix(log)}batch/")}
    if names != first:
        raise Broken(f"{log.name} has a fork: a batch stands beside the chain")
    return found


def _captures_once(world: World, read: dict[LogId, list[Entry]]) -> None:
    """Every 250 stands where it says, once in all logs, and opens byte for byte; unless its erasure was asked for."""
    counted = Counter(
        entry.fields["capture"] for entries in read.values() for entry in entries if entry.type == "capture"
    )
    for name, count in counted.items():
        if count > 1:
            raise Broken(f"capture {name} stands {count} times")
    keyring = world.keyring()
    gone = world.acts()
    gone.refresh()
    erased = gone.erasures.gone()
    for captured, mail in world.told.captures:
        if captured.seq >= len(read[captured.log]):
            raise Broken(f"acknowledged {captured.capture} is not in its log")
        entry = read[captured.log][captured.seq]
        if entry.type != "capture" or entry.fields["capture"] != captured.capture:
            raise Broken(f"acknowledged {captured.capture} is not where its 250 says")
        try:
            raw = open_capture(world.objects, keyring, captured.log, entry.fields).raw
        except (KeyUnavailable, Tampered, StoreError) as error:
            if captured.capture not in world.told.asked:
                raise Broken(
                    f"acknowledged {captured.capture} is unreadable: {error.code}: {error}"
                ) from error
            continue
        if captured.capture in erased:
            raise Broken(f"erased {captured.capture} opens")
        if raw != mail:
            raise Broken(f"acknowledged {captured.capture} is another mail")


def _no_orphans(world: World, read: dict[LogId, list[Entry]], reported: set[str]) -> None:
    """What is whole is chained in the end; what is not is reported."""
    for log, entries in read.items():
        named = {
            key_layout.object_key(log, entry.fields["capture"])
            for entry in entries
            if entry.type == "capture"
        }
        if log.kind == "capture":
            lost = {stored.key for stored in world.objects.list(key_layout.objects_prefix(log))} - named
            if lost - reported:
                raise Broken(f"{log.name} has an orphan that nobody reports")


def _generations(log: LogId, entries: list[Entry]) -> None:
    """No entry but a recovered one names an older key generation than one before it."""
    highest = 0
    for entry in entries:
        if entry.fields.get("recovered"):
            continue
        number = used_generation(entry.fields)
        if 0 < number < highest:
            raise Broken(f"{log.name} {entry.seq} names generation {number} after {highest}")
        highest = max(highest, number)


def _acts(world: World, entries: list[Entry]) -> None:
    """No number is given twice, and every act that was answered is there."""
    numbers = world.told.bates
    if len(set(numbers)) != len(numbers):
        raise Broken("a Bates number was given twice")
    acts = world.acts()
    found = Counter(
        act["first"]
        for entry in entries
        if entry.type == "act" and (act := acts.open(entry))["act"] == "bates.reserve"
    )
    if any(found[number] != 1 for number in numbers):
        raise Broken("an act that was answered is not there once")
