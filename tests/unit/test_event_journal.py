"""What of the logs is an event, and that pages of them lose and repeat nothing, whatever clocks and logs do."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.access.policy import CONTENT
from archive_service.event_journal.events import ACTS, LOOKS, Event, Kind, event_of, place_of
from archive_service.event_journal.walk import Wanted, read_page
from archive_service.ledger.appender import LedgerPolicy, build, create_batch
from archive_service.ledger.entry import Entry
from archive_service.ledger.note import Signer, Verifier
from archive_service.ledger.reader import Place
from archive_service.model.errors import Tampered
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import Lock
from archive_service.vault.stores.memory import MemoryStore
from tests.flow.api_fakes import Archive
from tests.flow.test_api_door import all_routes
from tests.packaging.error_codes import ROOT

OWNER = "a1" * 10
LOGS = [LogId(OWNER, name) for name in ("acts", "access-1", "access-2", "capture-1")]
NOBODY = Verifier([Signer(OWNER, b"s" * 32).vkey])  # no log here has a checkpoint
TIME = "2026-03-01T12:00:00.000000Z"

NO_EVENTS = {
    *("account.make", "account.revoke", "approval.ask", "approval.decide", "approval.done", "bates.reserve"),
    *("disposition.run", "disposition.stop", "elimination.draw", "elimination.visa", "erasure.begin"),
    *("erasure.delete", "exclusion.end", "exclusion.set", "grant.give", "grant.revoke", "grant.recertified"),
    *("hold.covers", "hold.locked", "hold.place", "hold.release", "hold.review", "hold.unlocked"),
    *("incident.close", "incident.open", "keep.lift", "keep.place", "matter.close", "matter.set"),
    *("notice.acknowledged", "notice.failed", "notice.open", "notice.sent", "notice.try"),
    *("order.document", "order.end", "order.place", "owner.create", "session.end"),
    *("source.add", "source.canary", "source.rotate", "source.set", "source.undeliverable", "source.watch"),
    *("stray.leave", "stray.take"),
}
"""Acts that destroy, move and class nothing by themselves."""

SAMPLES = {
    "schedule.set": {"number": 2, "effective_from": TIME},
    "retention.relabel": {"captures": ["a", "b"], "class": "law", "approval": "p1"},
    "retention.extend": {"captures": ["a"], "until": TIME},
    "archive.moved": {},
    "archive.arrived": {},
    "erasure.ask": {"captures": [{}], "ground": "order", "erasure": "e1"},
    "erasure.done": {"batch": "b1", "destroy_after": TIME},
    "erasure.kms": {"batch": "b1", "at": TIME},
    "erasure.deleted": {"captures": ["a"], "at": TIME},
    "disposition.done": {"disposition": "d1", "unreadable": TIME, "deleted": TIME},
    "capture.withdraw": {"of": {"capture": "secret"}, "erasure": "e2", "by": "anne", "approval": "p2"},
}


def entry(kind, fields=None):
    return build(LOGS[0], Place(), TIME, [(kind, fields or {})])[0]


def read(kind, payload=None, fields=None):
    return event_of(LOGS[0], entry(kind, fields), lambda *_: payload)


# --- what is an event


def test_every_act_is_an_event_or_is_known_to_be_none():
    """Also one that comes later: whoever adds it says here what it is."""
    packages = ("archive_service", "retention")
    texts = [path.read_text("utf-8") for package in packages for path in (ROOT / package).rglob("*.py")]
    found = {
        word
        for text in texts
        for word in re.findall(r'(?:"act": |word == |"act"\] [!=]= )"([a-z]+\.[a-z_]+)"', text)
    }
    assert found - ACTS.keys() - NO_EVENTS == set()
    assert NO_EVENTS - found == set()
    assert not NO_EVENTS & ACTS.keys()
    assert SAMPLES.keys() == ACTS.keys()


def test_every_route_that_shows_mail_is_an_access_or_a_restitution():
    shows = {route.action for route in all_routes(Archive().app) if route.right in CONTENT and route.traced}
    assert shows
    assert shows <= LOOKS.keys()


@pytest.mark.parametrize("word", sorted(SAMPLES))
def test_an_act_is_one_event_that_names_nobody(word):
    event = read("act", {"act": word, **SAMPLES[word]})
    assert (event.kind, event.what, event.id) == (ACTS[word][0], word, "acts-0")
    assert event.who is None
    assert "anne" not in str(event.facts)


@pytest.mark.parametrize(
    "word", sorted(word for word in SAMPLES if SAMPLES[word] and word != "capture.withdraw")
)
def test_an_act_that_does_not_follow_its_format_is_an_alarm(word):
    with pytest.raises(Tampered):
        read("act", {"act": word})


def test_a_withdrawn_capture_is_told_of_by_nothing_but_a_count():
    assert read("act", {"act": "capture.withdraw", **SAMPLES["capture.withdraw"]}).facts == {"captures": 1}
    asked = {"act": "erasure.ask", "captures": [{}, {}], "ground": "exclusion", "erasure": "e1"}
    assert read("act", asked).facts == {"captures": 2}


def test_a_refusal_and_another_act_are_no_events():
    said = {"actor": "anne", "role": "legal", "action": "search", "ids": []}
    assert read("access", said).kind is Kind.ACCESS
    assert read("access", said | {"outcome": "refused"}) is None
    assert read("access", said | {"action": "grant.list"}) is None
    assert read("act", {"act": "grant.give"}) is None
    assert read("claim", None) is None


@pytest.mark.parametrize("name", ["acts-0", "capture-12-345", "access-1-0", "move-1-7"])
def test_an_id_names_a_place(name):
    log, seq = place_of(name)
    assert f"{log}-{seq}" == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "acts",
        "acts-",
        "acts-01",
        "root-0",
        "order-1-0",
        "capture-0-1",
        "acts-0\n",
        "acts-9999999999999999",
    ],
)
def test_what_is_no_id_names_none(name):
    assert place_of(name) is None


# --- pages


class Growing:
    """Logs that grow, their writers' clocks now and then behind."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.places = dict.fromkeys(LOGS, Place())

    def append(self, log: LogId, minute: int) -> None:
        time = f"2026-03-01T12:{minute:02d}:00.000000Z"
        batch = build(log, self.places[log], time, [("claim", {"writer": "0" * 16})])
        create_batch(self.store, log, batch, Lock(), LedgerPolicy())
        self.places[log] = Place.after(batch[-1])

    def page(self, wanted, limit, cursor=None):
        return read_page(self.store, OWNER, wanted, limit, cursor, as_event, NOBODY)


def as_event(log: LogId, found: Entry) -> Event:
    return Event(Kind.ACCESS, "search", log, found, {})


def places(events):
    return [(event.log.name, event.entry.seq) for event in events]


growth = st.lists(st.tuples(st.sampled_from(LOGS), st.integers(0, 59)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(growth, st.lists(growth, max_size=4), st.integers(1, 5))
def test_pages_are_the_logs_as_they_stood_whatever_comes(first, later, limit):
    logs = Growing()
    for log, minute in first:
        logs.append(log, minute)
    whole = places(logs.page(Wanted(), 1000).events)
    assert sorted(whole) == sorted((log.name, seq) for log in LOGS for seq in range(logs.places[log].seq))
    turned = logs.page(Wanted(), limit)
    shown, growths = places(turned.events), iter(later)
    while turned.following is not None:
        for log, minute in next(growths, []):
            logs.append(log, minute)
        turned = logs.page(Wanted(), limit, turned.following)
        assert len(turned.events) <= limit
        shown += places(turned.events)
    assert shown == whole


@settings(max_examples=60, deadline=None)
@given(growth, st.integers(0, 59), st.integers(0, 59))
def test_a_span_is_what_of_the_whole_lies_in_it(made, begins, ends):
    logs = Growing()
    for log, minute in made:
        logs.append(log, minute)
    first, last = (f"2026-03-01T12:{minute:02d}:00.000000Z" for minute in sorted((begins, ends)))
    whole = logs.page(Wanted(), 1000).events
    within = logs.page(Wanted(begins=first, ends=last), 1000).events
    assert places(within) == places(each for each in whole if first <= each.entry.time < last)
