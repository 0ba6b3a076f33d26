"""Legal holds by the acts: counted, never lost by a fault, and standing where the precedence puts them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_service.access.hold_scopes import BELOW_HOLD, HoldScopes
from archive_service.alarms.hold_looks import holds_overdue
from archive_service.catalog.base import CaptureRow, Changes
from archive_service.catalog.sql import SqlCatalog
from archive_service.holds.covering import Covering
from archive_service.holds.objects import ObjectHolds
from archive_service.holds.step import HoldsStep
from archive_service.ledger.acts import Acts
from archive_service.ledger.approvals import Approval
from archive_service.ledger.capture_writer import Captured
from archive_service.ledger.holds import Holds
from archive_service.model.clock import rfc3339
from archive_service.model.errors import ArchiveError, Invalid, NotFound, Refused, StoreError
from archive_service.model.grounds import EraseGround, KeepGround
from archive_service.model.mail import Finding, Parsed, Text
from archive_service.vault.key_layout import object_key
from archive_service.vault.stores.faults import Effect
from retention.erasure import ErasureBatch
from retention.holds import PIECE, HoldAsked, Looked, cover, place, release, review
from retention.precedence import Case, decide
from search.document import to_document
from search.indexes.tantivy_index import TantivyIndex
from tests.unit.erasure_bench import Erasing

LOG = f"{'a' * 20}/capture-1"
MATTER = "t1"
FAULTS = [Effect.LOST, Effect.KEPT]


@pytest.fixture
def erasing() -> Iterator[Erasing]:
    made = Erasing()
    acts = made.acts()
    for matter in (MATTER, "t2"):
        fields = {"matter": matter, "name": matter, "purpose": "litige", "by": "zoe", "at": "2026-03-01"}
        acts.append(lambda _, fields=fields: {"version": 1, "act": "matter.set", **fields})  # type: ignore[misc]
    yield made
    made.archive.world.close()


def asked(erasing: Erasing, **more: Any) -> HoldAsked:
    review = rfc3339(erasing.archive.world.clock() + timedelta(days=90))
    return replace(HoldAsked(MATTER, "Contrats", "litige", "RG 1", "zoe", review), **more)


def put(erasing: Erasing, *captured: Captured, **more: Any) -> str:
    captures = [(str(each.log), each.capture) for each in captured]
    return place(
        erasing.acts(), asked(erasing, captures=captures, **more), "zoe", erasing.archive.world.clock
    ).hold


def end(erasing: Erasing, hold: str) -> None:
    fields = {
        "action": "hold.release",
        "request": {},
        "by": "zoe",
        "reason": "fini",
        "at": "2026",
        "expires": "2027",
    }
    erasing.acts().append(lambda _: {"version": 1, "act": "approval.ask", "approval": "p1", **fields})

    def spend() -> Approval:
        return Approval("p1", "hold.release", {}, "zoe", "fini", "2026", "2027")

    release(erasing.acts(), hold, "zoe", spend, erasing.archive.world.clock)


def judged(erasing: Erasing) -> ErasureBatch:
    """A batch that asks the holds, as ``erasing`` wires it."""
    batch = erasing.batch()
    parts = batch._parts
    batch._parts = replace(parts, undecided=HoldScopes(parts.acts).undecided)
    return batch


def objects(erasing: Erasing) -> ObjectHolds:
    acts = erasing.acts()
    return ObjectHolds(erasing.archive.world.store, acts)


def held(erasing: Erasing, captured: Captured) -> bool:
    key = object_key(captured.log, captured.capture)
    return erasing.archive.world.objects.stat(key)[0][1].hold


# --- precedence


@pytest.mark.parametrize("ground", EraseGround)
def test_hold_stands_above_a_request_and_a_maximum_and_below_an_order_and_an_exclusion(
    erasing: Erasing, ground: EraseGround
) -> None:
    (victim,) = erasing.send(b"one")
    put(erasing, victim)
    erasing.ask(victim, ground=ground)
    erasing.next_day()
    outcome = judged(erasing).run()
    kept = ground in (EraseGround.REQUEST, EraseGround.MAXIMUM)
    assert (outcome.erased, sum(outcome.kept.values())) == ((0, 1) if kept else (1, 0))


def test_hold_keeps_a_capture_until_the_last_one_upon_it_is_released(erasing: Erasing) -> None:
    (victim,) = erasing.send(b"one")
    first, second = put(erasing, victim), put(erasing, victim, matter="t2")
    erasing.ask(victim)
    erasing.next_day()
    for hold in (first, second):
        keeps = erasing.acts().erasures.keeps_of(victim.capture, "2026-03-01")
        assert set(keeps) == {KeepGround.HOLD}
        assert judged(erasing).run().erased == 0
        end(erasing, hold)
    assert judged(erasing).run().erased == 1


def test_hold_placed_while_a_batch_is_chosen_is_seen_by_the_act_that_begins_it(erasing: Erasing) -> None:
    (victim,) = erasing.send(b"one")
    erasing.ask(victim)
    erasing.next_day()
    batch = judged(erasing)
    close = batch._close

    def closing(numbers: Sequence[int]) -> None:
        close(numbers)
        put(erasing, victim)

    batch._close = closing  # type: ignore[method-assign]
    outcome = batch.run()
    assert (outcome.erased, sum(outcome.kept.values())) == (0, 1)


def test_hold_by_query_makes_every_erasure_wait_until_it_was_held_against_it(erasing: Erasing) -> None:
    (victim,) = erasing.send(b"one")
    erasing.ask(victim)
    hold = place(erasing.acts(), asked(erasing, query="contrat"), "zoe", erasing.archive.world.clock).hold
    erasing.next_day()
    outcome = judged(erasing).run()
    assert (outcome.erased, outcome.waiting) == (0, 1)
    acts = erasing.acts()
    position = acts.erasures.asked[victim.capture].position
    scope = HoldScopes(acts).of(acts.holds.known[hold]).digest
    cover(acts, hold, Looked(scope, 0, position, False), {})
    assert judged(erasing).run().waiting == 1
    cover(acts, hold, Looked("of another search", 0, position + 1, False), {})
    assert judged(erasing).run().waiting == 1
    cover(acts, hold, Looked(scope, 0, position + 1, False), {})
    assert judged(erasing).run().erased == 1


def test_hold_never_covers_what_is_being_destroyed(erasing: Erasing) -> None:
    gone, left = erasing.send(b"one", b"two")
    erasing.ask(gone)
    erasing.next_day()
    erasing.run()
    with pytest.raises(Refused, match="already being destroyed"):
        put(erasing, gone)
    hold = put(erasing, gone, left)
    assert list(erasing.acts().holds.known[hold].covered) == [left.capture]
    cover(erasing.acts(), hold, Looked("", 0, 0, True), {gone.capture: str(gone.log)})
    assert list(erasing.acts().holds.known[hold].covered) == [left.capture]


# --- acts


def test_hold_that_finds_much_says_it_in_acts_of_a_bounded_size(erasing: Erasing) -> None:
    hold = place(erasing.acts(), asked(erasing, query="*"), "zoe", erasing.archive.world.clock).hold
    acts = erasing.acts()
    before = acts.seen
    found = {f"c{number:06d}": LOG for number in range(2 * PIECE + 1)}
    cover(acts, hold, Looked("s", 77, 3, True), found)
    known = erasing.acts().holds.known[hold]
    assert (acts.seen - before, len(known.covered), known.rows, known.head) == (3, len(found), 77, True)


@pytest.mark.parametrize("effect", FAULTS)
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_hold_whose_acts_fail_is_looked_for_again_and_covers_everything_once(
    erasing: Erasing, effect: Effect, nth: int
) -> None:
    clock = erasing.archive.world.clock
    hold = place(erasing.acts(), asked(erasing, query="*"), "zoe", clock).hold
    found = {f"c{number:06d}": LOG for number in range(2 * PIECE + 1)}
    prefix = f"ledger/{erasing.archive.owner}/acts/"
    erasing.archive.world.plan.fail("create", nth, effect, prefix=prefix)
    for _ in range(2):
        try:
            cover(erasing.acts(), hold, Looked("s", 77, 3, True), found)
            break
        except ArchiveError:
            known = erasing.acts().holds.known[hold]
            assert known.rows == 0 or len(known.covered) == len(found)
    known = erasing.acts().holds.known[hold]
    assert (known.covered, known.rows) == (found, 77)


@pytest.mark.parametrize("effect", FAULTS)
def test_hold_whose_placing_fails_stands_or_does_not(erasing: Erasing, effect: Effect) -> None:
    (one,) = erasing.send(b"one")
    prefix = f"ledger/{erasing.archive.owner}/acts/"
    erasing.archive.world.plan.fail("create", 1, effect, prefix=prefix)
    placed = True
    try:
        put(erasing, one)
    except StoreError:
        placed = effect is Effect.KEPT and bool(erasing.acts().holds.known)
    assert len(erasing.acts().holds.holds_of(one.capture)) == placed


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"review": "2036-01-01T00:00:00Z"}, "hold.review"),
        ({"review": "2020-01-01T00:00:00Z"}, "hold.review"),
        ({"review": "soon"}, "hold.review"),
        ({"claim": " "}, "hold.invalid"),
        ({"query": None}, "hold.invalid"),
        ({"messages": ["m1"]}, "hold.invalid"),
        ({"past": False, "future": False}, "hold.invalid"),
        ({"matter": "t9"}, "matter.unknown"),
    ],
    ids=["too late", "too early", "no time", "no claim", "nothing", "both", "never", "no matter"],
)
def test_hold_that_makes_no_sense_is_not_placed(erasing: Erasing, changes: dict[str, Any], code: str) -> None:
    with pytest.raises((Invalid, NotFound)) as caught:
        place(erasing.acts(), asked(erasing, **{"query": "*"} | changes), "zoe", erasing.archive.world.clock)
    assert caught.value.code == code
    assert erasing.acts().holds.known == {}


def test_hold_is_reviewed_within_twelve_months_and_two_of_one_name_never_stand_in_a_matter(
    erasing: Erasing,
) -> None:
    (one,) = erasing.send(b"one")
    clock = erasing.archive.world.clock
    hold = put(erasing, one)
    with pytest.raises(Refused, match="of this name"):
        put(erasing, one)
    with pytest.raises(Invalid, match="twelve months"):
        review(erasing.acts(), hold, rfc3339(clock() + timedelta(days=400)), "zoe", "vu", clock)
    until = rfc3339(clock() + timedelta(days=300))
    review(erasing.acts(), hold, until, "zoe", "toujours utile", clock)
    known = erasing.acts().holds.known[hold]
    assert (known.review, known.reviewed) == (until, 1)


# --- the store


@pytest.mark.parametrize("effect", FAULTS)
@pytest.mark.parametrize("verb", ["protect", "stat", "create"])
def test_hold_is_laid_upon_every_object_whatever_fails_and_taken_off_where_no_other_stands(
    erasing: Erasing, verb: str, effect: Effect
) -> None:
    one, two, three = erasing.send(b"one", b"two", b"three")
    first, second = put(erasing, one, two), put(erasing, two, matter="t2")
    erasing.archive.world.plan.fail(verb, 1, effect)
    _until_done(erasing)
    assert [held(erasing, each) for each in (one, two, three)] == [True, True, False]
    assert erasing.acts().holds.known[first].locked == 2
    end(erasing, first)
    erasing.archive.world.plan.fail(verb, 1, effect)
    _until_done(erasing)
    assert [held(erasing, each) for each in (one, two, three)] == [False, True, False]
    end(erasing, second)
    _until_done(erasing)
    assert not held(erasing, two)
    assert erasing.archive.damage() == []


def _until_done(erasing: Erasing) -> None:
    """As new processes, each of which may fail."""
    for _ in range(9):
        try:
            if objects(erasing).step() == 0:
                return
        except ArchiveError:
            continue
    raise AssertionError("never done")


# --- state


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(0, 3), st.sets(st.integers(0, 5))),
        st.tuples(st.just("cover"), st.integers(0, 3), st.sets(st.integers(0, 5))),
        st.tuples(st.just("release"), st.integers(0, 3), st.just(frozenset())),
    ),
    max_size=30,
)


@given(STEPS)
def test_hold_state_is_the_union_of_what_those_in_force_cover(
    steps: list[tuple[str, int, set[int]]],
) -> None:
    holds = Holds()
    model: dict[str, set[str]] = {}
    ended: set[str] = set()
    for position, (word, number, ids) in enumerate(steps):
        hold, captures = f"h{number}", {f"c{each}" for each in ids}
        if word == "place" and hold not in model:
            model[hold] = captures
        elif word == "cover" and hold in model:
            model[hold] |= captures
        elif word == "release" and hold in model:
            ended.add(hold)
        else:
            continue
        assert holds.take(_act(word, hold, captures), position)
    for each in range(6):
        expected = {hold for hold, covered in model.items() if f"c{each}" in covered and hold not in ended}
        assert {hold.id for hold in holds.holds_of(f"c{each}")} == expected


def _act(word: str, hold: str, captures: set[str]) -> dict[str, Any]:
    if word == "place":
        fields = {name: name for name in ("name", "ground", "claim", "owner", "by", "at", "review")}
        flags = {"silent": True, "past": True, "future": True}
        return {"act": "hold.place", "hold": hold, "matter": "t", **fields, **flags, **_under(captures)}
    if word == "cover":
        how_far = {"scope": "s", "rows": 1, "asked": 1, "head": True}
        return {"act": "hold.covers", "hold": hold, **how_far, **_under(captures)}
    return {"act": "hold.release", "hold": hold, "by": "b", "at": "t", "approval": "p"}


def _under(captures: set[str]) -> dict[str, Any]:
    return {"captures": {LOG: sorted(captures)}} if captures else {"captures": {}}


@pytest.mark.parametrize(
    "change",
    [{"silent": "yes"}, {"captures": {"nowhere": ["c1"]}}, {"review": None, "hold": None, "matter": None}],
    ids=["flag", "log", "nothing"],
)
def test_hold_act_that_does_not_follow_its_format_is_named(change: dict[str, Any]) -> None:
    act = {**_act("place", "h1", {"c1"}), **change}
    if change.get("hold", "h") is None:
        del act["name"]
    with pytest.raises((KeyError, TypeError, ValueError)):
        Holds().take(act, 0)


def test_hold_whose_review_is_overdue_is_counted_until_it_is_reviewed_or_released(erasing: Erasing) -> None:
    one, two = erasing.send(b"one", b"two")
    clock = erasing.archive.world.clock
    first, second = put(erasing, one), put(erasing, two, matter="t2")
    counts = [holds_overdue(erasing.acts(), clock).value]
    erasing.next_day(91)
    counts.append(holds_overdue(erasing.acts(), clock).value)
    review(erasing.acts(), first, rfc3339(clock() + timedelta(days=90)), "zoe", "toujours utile", clock)
    counts.append(holds_overdue(erasing.acts(), clock).value)
    end(erasing, second)
    counts.append(holds_overdue(erasing.acts(), clock).value)
    assert counts == [0, 2, 1, 0]


def test_hold_that_the_store_does_not_take_stops_no_following_and_is_laid_later(erasing: Erasing) -> None:
    (one,) = erasing.send(b"one")
    put(erasing, one)
    acts, world, now = erasing.acts(), erasing.archive.world, [0.0]
    nothing: Any = None  # no hold searches: catalog and index are not asked
    covering = Covering(acts, nothing, nothing, HoldScopes(acts), nothing)
    step = HoldsStep(covering, ObjectHolds(world.store, acts), lambda: now[0])
    fault = world.plan.fail("protect", 1, Effect.LOST, times=2)
    assert [step(), step(), fault.seen] == [0, 0, 1]
    now[0] = 60.0
    assert [step(), held(erasing, one), fault.seen] == [0, False, 2]
    now[0] = 120.0
    assert [step(), step(), held(erasing, one)] == [1, 0, True]


def test_hold_upon_an_object_that_is_gone_stops_no_other(erasing: Erasing) -> None:
    one, two = erasing.send(b"one", b"two")
    put(erasing, one, two)
    key = object_key(one.log, one.capture)
    del erasing.archive.world.objects._objects[key]
    _until_done(erasing)
    assert held(erasing, two)


def test_hold_after_hold_is_looked_for_in_pieces_and_none_is_left_behind(
    erasing: Erasing, tmp_path: Path
) -> None:
    """Over a real catalog and index. A walk that is cut off begins where the acts say."""
    acts, clock = erasing.acts(), erasing.archive.world.clock
    catalog, index = SqlCatalog.sqlite(tmp_path / "catalog"), TantivyIndex(tmp_path / "index")
    log, count = f"{erasing.archive.owner}/capture-1", 1_500
    rows = [_row(log, number) for number in range(count)]
    catalog.apply(Changes(rows, [], count, 0))
    index.write([to_document(message, Text(body="bonjour")) for message in catalog.changed(0, count)])
    catalog.indexed(count)
    holds = [
        place(acts, asked(erasing, query=f"subject:{word}", name=word), "zoe", clock).hold
        for word in ("contrat", "paie", "absent", "contrat OR paie", "contrat NOT absent", "pai*")
    ]
    steps = 0
    while _covering(acts, catalog, index).step() and steps < 3:
        steps += 1  # each a new process: nothing but the acts is known to it
    covering = _covering(acts, catalog, index)
    while covering.step():
        steps += 1
    found = [len(acts.holds.known[hold].covered) for hold in holds]
    assert found == [count // 2, count // 2, 0, count, count // 2, count // 2]
    assert all(acts.holds.known[hold].head for hold in holds)
    before = acts.seen
    assert covering.step() == 0
    assert acts.seen == before
    index.close()
    catalog.close()


def _covering(acts: Acts, catalog: SqlCatalog, index: TantivyIndex) -> Covering:
    return Covering(acts, catalog, index, HoldScopes(acts), lambda *_: {})


def _row(log: str, number: int) -> CaptureRow:
    parsed = Parsed(
        parser="mime-1",
        dialect="generic",
        inner_start=0,
        inner_end=9,
        inner_digest=f"{number}",
        sender="a@ex.fr",
        subject="contrat" if number % 2 else "paie",
        sent_at="2026-03-01T12:00:00.000000Z",
    )
    name, at = f"c{number:06d}", "2026-03-01T12:00:00.000000Z"
    finding = Finding(capture=name, message=f"m{number:06d}", source="s1", received_at=at, parsed=parsed)
    return CaptureRow(name, log, number, number, f"objects/{number}", at, finding)


def test_hold_is_waited_for_by_just_those_erasures_that_it_would_stop() -> None:
    def stopped(ground: EraseGround) -> bool:
        try:
            decide(Case(LOG, "c1", ground, [KeepGround.HOLD]))
        except Refused:
            return True
        return False

    assert {ground for ground in EraseGround if stopped(ground)} == BELOW_HOLD
