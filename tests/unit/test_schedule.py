"""Retention classes, rules and terms: pure, so every promise is shown on plain values."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from archive_service.model.clock import from_rfc3339, rfc3339
from archive_service.model.mail import Finding, Parsed, Part, Recipient
from archive_service.model.schedule import Direction, RetentionClass, Rule, Schedule, Start, after, offset
from retention.schedule.facts import facts_of
from retention.schedule.rules import directions, rules_of, unread_of
from retention.schedule.templates import TEMPLATES
from retention.schedule.terms import Events, assess, year_end

NOBODY = Events(lambda _: frozenset(), lambda _: None, lambda _: None)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
DURATIONS = st.builds("P{}Y{}M{}D".format, st.integers(0, 60), st.integers(0, 40), st.integers(1, 3000))


def finding(received="2026-03-02T10:00:00.000000Z", sent="2026-03-02T09:59:00.000000Z", **more):
    parsed = {
        "parser": "mime-2",
        "dialect": "plain",
        "inner_start": 0,
        "inner_end": 1000,
        "inner_digest": "00",
        "sender": "Anne@ex.fr",
        "recipients": (Recipient(address="bob@dehors.fr"),),
        "subject": "Facture n° 12 de l'été",
        "sent_at": sent,
    }
    outer = {"capture": "c", "message": "m", "source": "s1", "received_at": received}
    outer |= {name: more.pop(name) for name in ("source", "channel") if name in more}
    return Finding(**outer, parsed=Parsed(**parsed | more))


def klass(name="k", **more):
    fields = {"id": name, "name": name, "basis": "b", "article": "a", "maximum": "P1Y"}
    return RetentionClass(**fields | more)


def schedule(*rules, **more):
    fields = {"classes": (klass("rest"), klass("taken")), "default": "rest", "domains": ("ex.fr",)}
    return Schedule(**fields | more, rules=tuple(Rule(**{"class": "taken"} | rule) for rule in rules))


def taken(rule, of=None, custodians=frozenset()):
    found = rules_of(schedule({"id": "r"} | rule), facts_of(of or finding()), lambda _: custodians)
    return found[0] is not None


# --- terms


def test_l123_22_the_term_runs_from_the_end_of_the_financial_year():
    found = assess(Schedule(classes=TEMPLATES, default="accounting-fr"), facts_of(finding()), NOBODY)
    assert found.start == "2026-12-31T23:00:00.000000Z"  # midnight in Paris
    assert found.keep_until == found.dispose_after == "2036-12-31T23:00:00.000000Z"
    assert found.kept("2036-12-31T22:59:59.999999Z")
    assert not found.kept("2036-12-31T23:00:00.000000Z")


@pytest.mark.parametrize(
    ("moment", "ends", "over"),
    [
        ("2026-03-31T23:59:59+00:00", "03-31", "2026-04-01T00:00:00.000000Z"),
        ("2026-04-01T00:00:00+00:00", "03-31", "2027-04-01T00:00:00.000000Z"),
        ("2027-02-28T12:00:00+00:00", "02-29", "2027-03-01T00:00:00.000000Z"),
        ("2028-02-29T12:00:00+00:00", "02-29", "2028-03-01T00:00:00.000000Z"),
    ],
    ids=["last moment", "first moment", "no leap year", "leap year"],
)
def test_l123_22_the_end_of_a_financial_year_is_the_midnight_behind_its_last_day(moment, ends, over):
    assert rfc3339(year_end(from_rfc3339(moment), ends)) == over


@pytest.mark.parametrize(
    ("moment", "ends", "ahead", "over"),
    [
        ("2026-01-01T00:30:00+01:00", "12-31", "+01:00", "2026-12-31T23:00:00.000000Z"),
        ("2025-12-31T23:30:00+01:00", "12-31", "+01:00", "2025-12-31T23:00:00.000000Z"),
        ("2026-06-30T23:30:00-05:00", "06-30", "-05:00", "2026-07-01T05:00:00.000000Z"),
        ("2026-07-01T00:30:00-05:00", "06-30", "-05:00", "2027-07-01T05:00:00.000000Z"),
        ("2024-03-01T00:30:00+14:00", "02-29", "+14:00", "2025-02-28T10:00:00.000000Z"),
        ("0001-01-01T00:00:00+00:00", "12-31", "-14:00", "0002-01-01T14:00:00.000000Z"),
    ],
)
def test_l123_22_a_financial_year_ends_by_the_clocks_of_the_country(moment, ends, ahead, over):
    whole = klass(start=Start.FINANCIAL_YEAR, year_ends=ends, year_offset=ahead)
    assert rfc3339(year_end(from_rfc3339(moment), ends, offset(ahead))) == over
    assert whole.plain()["year_offset"] == ahead
    of = facts_of(finding(received="2027-01-01T00:00:00.000000Z", sent=moment, channel="import"))
    assert assess(Schedule(classes=(whole,), default="k"), of, NOBODY).start == over


def test_l110_4_a_limitation_period_is_no_duty_to_keep():
    found = assess(Schedule(classes=TEMPLATES, default="commercial-fr"), facts_of(finding()), NOBODY)
    assert (found.keep_until, found.dispose_after) == (None, "2031-03-02T09:59:00.000000Z")


@pytest.mark.parametrize("made", TEMPLATES, ids=lambda each: each.id)
def test_every_template_says_which_article_and_where_it_can_be_read(made):
    assert made.article
    assert made.read_at.startswith("https://")
    assert made.minimum is None or made.lock == "COMPLIANCE"


@given(MOMENTS, DURATIONS)
def test_a_duration_goes_forward_by_the_calendar(moment, duration):
    later = after(moment, duration)
    assert later > moment
    assert later.time() == moment.time()


@given(MOMENTS, DURATIONS, DURATIONS, st.sampled_from(["12-31", "02-29", "06-30"]))
def test_gdpr_article_5_whatever_a_class_says_there_is_an_end_and_never_before_the_minimum(
    moment, first, second, ends
):
    try:
        made = klass("rest", minimum=first, maximum=second, start=Start.FINANCIAL_YEAR, year_ends=ends)
    except ValidationError:
        return  # the maximum is shorter, or longer than 150 years: refused
    received = rfc3339(moment)
    found = assess(Schedule(classes=(made,), default="rest"), facts_of(finding(received, received)), NOBODY)
    assert received < found.keep_until <= found.dispose_after
    assert not (found.kept(found.dispose_after) or found.past(received))


def test_gdpr_article_5_who_chooses_the_date_of_a_mail_does_not_choose_its_end():
    for date in ("1990-01-01T00:00:00Z", "2400-01-01T00:00:00Z", None, "nonsense"):
        facts = facts_of(finding(sent=date))
        assert facts.sent_at == facts.received_at
    imported = facts_of(finding(sent="1999-01-01T00:00:00Z", channel="import"))
    assert imported.sent_at == "1999-01-01T00:00:00.000000Z"


def test_a_term_that_starts_with_an_event_is_open_until_then_and_never_for_ever():
    made = klass("rest", start=Start.MATTER, matter="m1", event_by="P10Y", minimum="P1Y", maximum="P2Y")
    whole = Schedule(classes=(made,), default="rest")
    waiting = assess(whole, facts_of(finding()), NOBODY)
    assert (waiting.open, waiting.dispose_after) == (True, "2038-03-02T10:00:00.000000Z")
    closed = Events(NOBODY.custodians, {"m1": "2027-01-01T00:00:00.000000Z"}.get, NOBODY.left)
    found = assess(whole, facts_of(finding()), closed)
    assert (found.open, found.keep_until) == (False, "2028-01-01T00:00:00.000000Z")
    before = Events(NOBODY.custodians, {"m1": "2020-01-01T00:00:00.000000Z"}.get, NOBODY.left)
    found = assess(
        whole, facts_of(finding()), before
    )  # what comes behind the event is kept from its receipt on
    assert (found.start, found.keep_until) == ("2026-03-02T10:00:00.000000Z", "2027-03-02T10:00:00.000000Z")


def test_loi_2016_1691_article_9_an_alert_goes_by_its_own_closing_and_has_no_minimum():
    made = klass("rest", start=Start.ALERT, matter="m1", event_by="P2Y", maximum="P2M")
    whole = Schedule(classes=(made,), default="rest")
    assert assess(whole, facts_of(finding()), NOBODY).open
    closed = Events(NOBODY.custodians, {"m1": "2027-01-01T00:00:00.000000Z"}.get, NOBODY.left)
    found = assess(whole, facts_of(finding()), closed)
    assert (found.open, found.keep_until) == (False, None)
    assert found.dispose_after == "2027-03-01T00:00:00.000000Z"


def test_a_departure_counts_when_the_last_of_those_named_has_left():
    made = klass("taken", start=Start.DEPARTURE, event_by="P50Y", maximum="P3M")
    whole = Schedule(
        classes=(klass("rest"), made),
        default="rest",
        rules=(Rule(**{"id": "r", "class": "taken", "custodians": ("c1", "c2")}),),
    )
    left = {"c1": "2026-06-01T00:00:00.000000Z"}
    events = Events(lambda _: frozenset({"c1", "c2", "c3"}), NOBODY.closed, left.get)
    assert assess(whole, facts_of(finding()), events).open
    left["c2"] = "2026-09-01T00:00:00.000000Z"
    assert assess(whole, facts_of(finding()), events).start == "2026-09-01T00:00:00.000000Z"


# --- rules


@pytest.mark.parametrize(
    ("rule", "takes"),
    [
        ({}, True),
        ({"sources": ["s1"]}, True),
        ({"sources": ["s2"]}, False),
        ({"domains": ["DEHORS.fr"]}, True),
        ({"domains": ["hors.fr"]}, False),
        ({"direction": "outbound"}, True),
        ({"direction": "internal"}, False),
        ({"subject": ["facture ete"]}, True),
        ({"subject": ["factur"]}, False),
        ({"subject": ["..."]}, False),
        ({"labels": ["confidentiel"]}, False),
        ({"larger": 999}, True),
        ({"larger": 1000}, False),
        ({"smaller": 1000}, False),
        ({"custodians": ["c1"]}, True),
        ({"custodians": ["c2"]}, False),
        ({"sources": ["s1"], "larger": 5000}, False),
    ],
    ids=str,
)
def test_a_rule_takes_what_fulfils_all_its_conditions(rule, takes):
    assert taken(rule, custodians=frozenset({"c1"})) is takes


@pytest.mark.parametrize(
    ("kind", "takes"),
    [
        (".PDF", True),
        ("application/pdf", True),
        ("application/*", True),
        ("image/*", False),
        (".xlsx", False),
    ],
)
def test_a_rule_knows_attachments_by_type_or_ending(kind, takes):
    part = Part(path="2", content_type="Application/PDF", filename="Été.pdf", start=0, end=1, size=1,
                sha256="", attachment=True)  # fmt: skip
    assert taken({"attachments": [kind]}, finding(parts=(part,))) is takes
    inline = part.model_copy(update={"attachment": False})
    assert not taken({"attachments": [kind]}, finding(parts=(inline,)))


@pytest.mark.parametrize(
    ("sender", "recipients", "way"),
    [
        ("a@ex.fr", ["b@ex.fr", "c@sub.ex.fr"], {Direction.INTERNAL}),
        ("a@ex.fr", ["b@ex.fr", "c@dehors.fr"], {Direction.OUTBOUND}),
        ("a@dehors.fr", ["b@ex.fr"], {Direction.INBOUND}),
        ("a@dehors.fr", ["b@ailleurs.fr"], set()),
        (None, ["b@ex.fr"], set()),
    ],
    ids=["inside", "out", "in", "elsewhere", "no sender"],
)
def test_a_direction_is_between_own_domains_and_elsewhere(sender, recipients, way):
    facts = facts_of(finding(sender=sender, recipients=tuple(Recipient(address=each) for each in recipients)))
    assert directions(facts, ["ex.fr"]) == way


def test_the_smallest_priority_decides_then_the_first_that_stands_there():
    whole = Schedule(
        classes=(klass("rest"), klass("one"), klass("two")),
        default="rest",
        rules=(
            Rule(**{"id": "late", "class": "one", "priority": 9}),
            Rule(**{"id": "first", "class": "two", "priority": 5}),
            Rule(**{"id": "second", "class": "one", "priority": 5}),
        ),
    )
    assert assess(whole, facts_of(finding()), NOBODY).rule == "first"


def test_what_no_rule_takes_is_of_the_default_class():
    found = assess(schedule({"id": "r", "sources": ["other"]}), facts_of(finding()), NOBODY)
    assert (found.klass.id, found.rule) == ("rest", None)


# --- what is refused


@pytest.mark.parametrize(
    "fields",
    [
        {"maximum": "P5Y", "minimum": "P6Y"},
        {"maximum": "P30D", "minimum": "P1M"},
        {"maximum": None},
        {"maximum": "P0D"},
        {"maximum": "P151Y"},
        {"maximum": "PT5H"},
        {"start": "financial_year"},
        {"year_ends": "12-31"},
        {"year_offset": "+01:00"},
        {"start": "financial_year", "year_ends": "12-31", "year_offset": "+15:00"},
        {"start": "financial_year", "year_ends": "12-31", "year_offset": "01:00"},
        {"start": "financial_year", "year_ends": "02-30"},
        {"start": "matter", "matter": "m1"},
        {"start": "alert", "matter": "m1"},
        {"start": "alert", "event_by": "P2Y"},
        {"start": "alert", "matter": "m1", "event_by": "P2Y", "minimum": "P1M"},
        {"start": "departure"},
        {"lock": "COMPLIANCE"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_senseless_class_is_refused(fields):
    with pytest.raises(ValidationError):
        klass(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"default": "nowhere"},
        {"classes": ()},
        {"classes": (klass("rest"), klass("rest"), klass("taken"))},
        {"domains": ()},
    ],
    ids=["default", "no class", "twice", "no domains"],
)
def test_a_senseless_schedule_is_refused(fields):
    with pytest.raises(ValidationError):
        schedule({"id": "r", "direction": "inbound"}, **fields)


def test_a_schedule_comes_back_as_it_was_written():
    whole = schedule({"id": "r", "direction": "inbound", "priority": 3, "attachments": [".pdf"]})
    assert Schedule.model_validate(whole.plain()) == whole
    assert Schedule(classes=TEMPLATES, default="ordinary").plain()["classes"][0]["start"] == "financial_year"


@given(MOMENTS, st.integers(0, 5000))
def test_where_the_term_starts_with_the_receipt_it_ends_with_the_duration(moment, days):
    received = rfc3339(moment)
    whole = Schedule(classes=(klass("rest", maximum=f"P{days + 1}D"),), default="rest")
    end = assess(whole, facts_of(finding(received, received)), NOBODY).dispose_after
    assert from_rfc3339(end) - moment == timedelta(days=days + 1)


# --- words of the mail itself


def texts(**more):
    return Rule(**{"id": "t", "class": "taken"} | more)


def key(rule):
    (group,) = rule.texts()
    return group[0].key


def of_marks(whole, marks):
    return assess(whole, facts_of(finding(), marks), NOBODY)


def test_conditions_that_ask_the_same_have_one_key():
    assert (
        key(texts(words=["Été  projet"])) == key(texts(words=["projet ete"])) != key(texts(words=["projet"]))
    )
    assert key(texts(headers=["X-Dept: Achats"])) == key(texts(headers=["x-dept:ACHATS"]))
    assert key(texts(headers=["X-Dept: achats"])) != key(texts(words=["achats"]))


@pytest.mark.parametrize(
    ("said", "rules", "undecided"),
    [
        (True, ["t"], False),
        (False, [None], False),
        (None, ["t", None], True),
        ("unread", ["t", None], True),
    ],
)
def test_a_rule_on_words_takes_may_take_or_does_not(said, rules, undecided):
    whole = schedule({"id": "t", "words": ["contrat"]})
    marks = {} if said == "unread" else {key(whole.rules[0]): said}
    facts = facts_of(finding(), marks)
    assert [rule and rule.id for rule in rules_of(whole, facts, lambda _: frozenset())] == rules
    assert of_marks(whole, marks).undecided == undecided
    unread = unread_of(whole, facts, lambda _: frozenset())
    assert {each.key for each in unread} == ({key(whole.rules[0])} if said == "unread" else set())


def test_no_mail_is_read_for_what_decides_nothing():
    whole = schedule(
        {"id": "far", "words": ["contrat"], "sources": ["other"]},
        {"id": "sure", "subject": ["facture"]},
        {"id": "late", "words": ["avenant"]},
    )
    assert not unread_of(whole, facts_of(finding()), lambda _: frozenset())
    assert of_marks(whole, {}).rule == "sure"


def test_every_group_of_conditions_is_to_hold_and_any_one_of_a_group():
    whole = schedule({"id": "t", "words": ["un", "deux"], "headers": ["X-A"]})
    (one, two), (header,) = whole.rules[0].texts()
    for marks, rules in (
        ({one.key: False, two.key: True, header.key: True}, ["t"]),
        ({one.key: True, two.key: None, header.key: False}, [None]),
        ({one.key: None, two.key: False, header.key: True}, ["t", None]),
        ({one.key: None, two.key: True, header.key: True}, ["t"]),
    ):
        found = rules_of(whole, facts_of(finding(), marks), lambda _: frozenset())
        assert [each and each.id for each in found] == rules


@pytest.mark.parametrize(("said", "purpose"), [(True, True), (False, False), (None, True)])
def test_a_purpose_is_asked_for_as_long_as_the_class_may_ask_for_it(said, purpose):
    classes = (klass("rest", maximum="P9Y"), klass("short", maximum="P1M", purpose=True))
    rule = Rule(**{"id": "t", "class": "short", "words": ["contrat"]})
    whole = Schedule(classes=classes, default="rest", rules=(rule,))
    assert of_marks(whole, {key(rule): said}).purpose == purpose


_RULES = st.lists(
    st.tuples(st.sampled_from(["short", "long", "law"]), st.lists(st.sampled_from("abc"), max_size=2)),
    max_size=4,
)


@given(_RULES, st.dictionaries(st.sampled_from("abc"), st.sampled_from([True, False]), min_size=3))
def test_retention_what_is_not_known_never_shortens_how_long_a_mail_is_kept(rules, truth):
    classes = (klass("rest"), klass("short", maximum="P1M"), klass("long", maximum="P9Y"),
               klass("law", minimum="P5Y", maximum="P6Y"))  # fmt: skip
    made = tuple(
        Rule(**{"id": f"r{number}", "class": name, "words": words})
        for number, (name, words) in enumerate(rules)
    )
    whole = Schedule(classes=classes, default="rest", rules=made)
    keys = {each.words[0]: each.key for rule in made for group in rule.texts() for each in group}
    marks = {keys[word]: said for word, said in truth.items() if word in keys}
    known = of_marks(whole, marks)
    assert not known.undecided
    for left in marks:
        less = of_marks(whole, {name: said for name, said in marks.items() if name != left})
        assert less.dispose_after >= known.dispose_after
        assert not less.past(known.dispose_after) or less.dispose_after == known.dispose_after


@pytest.mark.parametrize("said", [None, "unread"])
def test_gdpr_article_17_3_b_a_minimum_that_may_be_a_mails_stands_whatever_else_may_be_longer(said):
    """Of the classes that a mail may be of one ends last, another has the minimum."""
    whole = Schedule(
        classes=(klass("rest", maximum="P10Y"), klass("taken", minimum="P5Y", maximum="P5Y")),
        rules=(texts(words=["contrat"]),),
        default="rest",
    )
    rest, taken = (of_marks(whole, {key(whole.rules[0]): each}) for each in (False, True))
    either = of_marks(whole, {} if said == "unread" else {key(whole.rules[0]): said})
    assert rest.keep_until is None and taken.keep_until is not None
    assert (either.keep_until, either.dispose_after) == (taken.keep_until, rest.dispose_after)
    assert not either.open


def test_l123_22_a_minimum_that_may_be_a_mails_is_open_while_its_event_has_not_happened():
    """Nobody can say until when it keeps, though the class that ends last has no event."""
    event = {"start": Start.MATTER, "matter": "m1", "event_by": "P1Y"}
    whole = Schedule(
        classes=(klass("rest", maximum="P50Y"), klass("taken", minimum="P5Y", maximum="P5Y", **event)),
        rules=(texts(words=["contrat"]),),
        default="rest",
    )
    assert of_marks(whole, {key(whole.rules[0]): None}).open
    assert not of_marks(whole, {key(whole.rules[0]): False}).open
