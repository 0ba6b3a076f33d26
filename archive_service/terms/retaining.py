"""A tenant's retention schedule over its archive: what it says of a capture, what another one would say of all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from archive_service.catalog.base import CaptureRow, Catalog
from archive_service.catalog.mark_seals import marks_of
from archive_service.catalog.vouching import vouched
from archive_service.ledger.acts import Acts
from archive_service.ledger.schedules import Version
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.custodians import address_key, day_after
from archive_service.model.decided_people import DecidedPeople
from archive_service.model.errors import Invalid, NotFound, Overloaded, Refused
from archive_service.model.grounds import KeepGround
from archive_service.model.schedule import Schedule, words
from archive_service.terms.schedule_trial import AskedWords, Trial
from archive_service.vault.stores.base import ObjectStore
from retention.keeping import place_keep
from retention.schedule.facts import Facts, facts_of
from retention.schedule.rules import Custodians
from retention.schedule.templates import TEMPLATES
from retention.schedule.terms import Assessment, Events, assess, longest
from search.indexes.base import SearchIndex


def custodians_of(acts: Acts, people: DecidedPeople | None = None) -> Custodians:
    """Whose mail is whose by the acts read so far, or as ``people`` have it."""

    def custodians(facts: Facts) -> frozenset[str]:
        day, keys = facts.sent_at[:10], {address_key(each) for each in facts.parties}
        if people is not None:
            return frozenset(
                who
                for who, addresses in people.addresses.items()
                if any(held.address in keys and held.on(day) for held in addresses)
            )
        return frozenset(
            person.id
            for key in keys
            for person in acts.custodians.holders(key)
            if any(held.address == key and held.on(day) for held in person.addresses)
        )

    return custodians


def events_of(acts: Acts, now: str, people: DecidedPeople | None = None) -> Events:
    """What the acts read so far tell has happened by ``now`` (RFC 3339). A departure of a day to come is none yet: who
    is to go may stay, directories have accounts expire in 2099, and a lock that is set by it cannot be taken back."""

    def closed(matter: str) -> str | None:
        known = acts.matters.known.get(matter)
        return None if known is None else known.closed

    def left(custodian: str) -> str | None:
        known = acts.custodians.get(custodian)
        if known is None or known.left is None:
            return None
        over = f"{day_after(known.left)}T00:00:00.000000Z"
        return over if over <= now else None

    return Events(custodians_of(acts, people), closed, left)


def assessed(acts: Acts, capture: CaptureRow, now: str) -> tuple[Version, Assessment] | None:
    """What the schedule in force at ``now`` says of a capture, by the acts read so far; None without a schedule."""
    version = acts.schedules.in_force(now)
    return None if version is None else (version, _by(version, acts, capture, now))


def _by(
    version: Version, acts: Acts, capture: CaptureRow, now: str, people: DecidedPeople | None = None
) -> Assessment:
    by_hand = acts.reviews.by_hand(capture.id, version.schedule)
    extended = acts.reviews.until.get(capture.id, "")
    facts = facts_of(capture.finding, marks_of(acts.vault.keyring, capture))
    return assess(version.schedule, facts, events_of(acts, now, people), by_hand, extended)


def assessed_to_go(acts: Acts, capture: CaptureRow, now: str) -> tuple[Version, Assessment] | None:
    """As ``assessed``, for who would have it destroyed: whom the rules name is taken as the directory has him, and as
    it had him when two people decided the schedule, and what is longer counts. Nobody alone shortens a term."""
    version = acts.schedules.in_force(now)
    return None if version is None else (version, _longest_by(version, acts, capture, now))


def _longest_by(version: Version, acts: Acts, capture: CaptureRow, now: str) -> Assessment:
    found = _by(version, acts, capture, now)
    if version.people is None:
        return found
    return longest([found, _by(version, acts, capture, now, version.people)])


def judged_by(acts: Acts) -> tuple[int, ...]:
    """What the assessment of captures rests on beside their findings, as far as the acts were read. While it is the
    same, nothing that was assessed comes out otherwise but by the passing of time, or shorter once its text was read
    (``Assessment.undecided``)."""
    changes = sum(each.version for each in acts.matters.all())
    return len(acts.schedules.versions), acts.reviews.count, acts.custodians.last, changes


def require_judged(acts: Acts, before: tuple[int, ...]) -> None:
    """To be called inside the append of an act that rests on assessments made before. Raises Refused
    (``retention.moved``): to be judged anew."""
    if judged_by(acts) != before:
        raise Refused("the schedule, a class or an event changed meanwhile: again", code="retention.moved")


def checked_schedule(given: Mapping[str, Any], acts: Acts) -> Schedule:
    """A schedule whose sources, custodians and matters there are, by the acts read so far. Raises Invalid
    (``schedule.invalid``), naming where."""
    try:
        schedule = Schedule.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        detail = first["msg"].removeprefix("Value error, ")
        raise Invalid(f"{where or 'schedule'}: {detail}", code="schedule.invalid") from error
    for number, rule in enumerate(schedule.rules):
        if empty := [name for name, value in given["rules"][number].items() if value == []]:
            raise Invalid(
                f"rule {rule.id}: {empty[0]} is empty, which asks for nothing", code="schedule.invalid"
            )
        if not all(map(words, rule.subject)):
            raise Invalid(f"rule {rule.id}: a subject without a word", code="schedule.invalid")
        if any(acts.source(each) is None for each in rule.sources):
            raise Invalid(f"rule {rule.id}: no such source", code="schedule.invalid")
        if any(acts.custodians.get(each) is None for each in rule.custodians):
            raise Invalid(f"rule {rule.id}: no such custodian", code="schedule.invalid")
    for klass in schedule.classes:
        if klass.matter is not None and klass.matter not in acts.matters.known:
            raise Invalid(f"class {klass.id}: no such matter", code="schedule.invalid")
    return schedule


def keep_to_minimum(
    acts: Acts, catalog: Catalog, captures: Sequence[str], by: str, clock: Clock
) -> dict[str, str]:
    """Have those of these captures kept whose legal minimum runs: their keys then outlast a request to erase them,
    until each one's own end; by a schedule to come from its time on, for a request may wait long for its batch. By id,
    until when; durable on return. Raises Refused (``erasure.minimum_open``) where the term has not begun to run, for
    then nobody can say until when; Tampered (``integrity.row``); Overloaded (``projection.behind``) where the catalog
    is made anew, or behind."""
    now = rfc3339(clock())
    ends: dict[tuple[str, str, str], list[str]] = {}
    for capture in captures:
        row = catalog.capture(capture)
        if row is None and not acts.erasures.barred(capture) and acts.schedules.versions:
            detail = "the catalog does not have a capture of these yet: nobody can say what keeps it"
            raise Overloaded(detail, code="projection.behind")
        for since, found in minimums(acts, row, now) if row is not None else ():
            if found.open:
                detail = "a legal minimum whose event has not happened stands above this request"
                raise Refused(detail, code="erasure.minimum_open")
            ends.setdefault((str(found.keep_until), since, found.klass.article), []).append(capture)
    for (until, since, article), named in ends.items():
        place_keep(acts, named, KeepGround.MINIMUM, article, by, until, since)
    return {capture: until for (until, *_), named in sorted(ends.items()) for capture in named}


def minimums(acts: Acts, row: CaptureRow, now: str) -> Iterator[tuple[str, Assessment]]:
    """The legal minimums of a capture: by each version in force or to come under which it is kept, from when on (empty:
    it is so now)."""
    version = acts.schedules.in_force(now)
    versions = [] if version is None else [("", version)]
    versions += [(each.effective_from, each) for each in acts.schedules.to_come(now)]
    if versions:
        vouched(acts.vault, row)  # a row that makes mail look older would have it lose its minimum
    for since, each in versions:
        found = _longest_by(each, acts, row, now)
        if found.kept(since or now):
            yield since, found


def version_view(version: Version) -> dict[str, Any]:
    """JSON-ready."""
    return {
        "version": version.number,
        "effective_from": version.effective_from,
        "set_by": version.by,
        "set_at": version.at,
        "approval": version.approval,
        "schedule": version.schedule.plain(),
    }


@dataclass(frozen=True)
class TenantSchedules:
    """See ``api.services.Schedules``."""

    acts: Acts
    catalog: Catalog
    index: SearchIndex
    store: ObjectStore
    clock: Clock

    def versions(self) -> list[dict[str, Any]]:
        """By the acts at their head, newest first; ``in_force`` says which one decides now."""
        self.acts.refresh()
        now = self.acts.schedules.in_force(rfc3339(self.clock()))
        return [
            {**version_view(each), "in_force": each is now} for each in reversed(self.acts.schedules.versions)
        ]

    def templates(self) -> list[dict[str, Any]]:
        """Classes to begin with."""
        return [each.plain() for each in TEMPLATES]

    def dry_run(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Over every capture in the catalog; nothing is changed. Raises Invalid, StoreError."""
        self.acts.refresh()
        schedule = checked_schedule(given, self.acts)
        now, asked = rfc3339(self.clock()), AskedWords(self.index)
        return Trial(self.acts, schedule, events_of(self.acts, now), asked, now).over(self.catalog)

    def asks_purpose(self, captures: Sequence[CaptureRow] | None) -> bool:
        """See ``purposes``; by the acts read so far."""
        now = rfc3339(self.clock())
        version = self.acts.schedules.in_force(now)
        if version is None or not any(klass.purpose for klass in version.schedule.classes):
            return False
        return captures is None or any(_by(version, self.acts, each, now).purpose for each in captures)

    def of(self, captures: Sequence[CaptureRow]) -> dict[str, Any]:
        """By the acts read so far, and by the store for the locks. Raises StoreError, Tampered."""
        now = rfc3339(self.clock())
        each = [self._of(capture, now) for capture in captures]
        last = max(each, key=lambda one: one.get("dispose_after") or "")
        shown = {name: value for name, value in last.items() if name != "id"}
        kept = [one["kept_until"] for one in each if "kept_until" in one]
        longest_kept = {"kept_until": max(kept)} if kept else {}
        return {
            **shown,
            **longest_kept,
            "lock_until": max(one["lock_until"] for one in each),
            "captures": each,
        }

    def _of(self, capture: CaptureRow, now: str) -> dict[str, Any]:
        found = assessed(self.acts, capture, now)
        said = {"id": capture.id, "lock_until": lock_until(self.store, capture)}
        kept = self.acts.erasures.kept_until(capture.id, now)
        said |= {"kept_until": kept} if kept is not None else {}
        return said if found is None else {**said, **_said(*found)}


def _said(version: Version, found: Assessment) -> dict[str, Any]:
    return {
        "class": found.klass.id,
        "basis": found.klass.basis,
        "article": found.klass.article,
        "rule": found.rule,
        "by_hand": found.by_hand,
        "undecided": found.undecided,
        "schedule_version": version.number,
        "start": found.start,
        "keep_until": found.keep_until,
        "dispose_after": found.dispose_after,
        "open": found.open,
    }


def lock_until(store: ObjectStore, capture: CaptureRow) -> str:
    """Until when the store refuses to delete a capture's object: as it says, or, for one that is not there, as its
    entry did. Raises StoreError, Tampered."""
    try:
        lock = store.stat(capture.object_key)[0][1]
    except NotFound:
        return capture.lock_until
    return capture.lock_until if lock.until is None else rfc3339(lock.until)
