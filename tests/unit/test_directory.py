"""The directory as a state and as an answer: who held what when, and what a person's name in a query comes to."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from archive_service.access.directory import (
    Resolution,
    Unresolved,
    Used,
    expanded,
    query_of,
    query_of_all,
    resolution_of,
    resolutions,
    resolve,
)
from archive_service.ledger.custodians import Custodians
from archive_service.model.custodians import Custodian, Dated, HeldAddress, address_key, is_smtp
from archive_service.model.errors import Invalid, NotFound, QueryError, Refused, Tampered
from search.indexes import analysis
from search.query_language import And, Not, Or, Sent, Text, parse
from search.query_tree import Named


def person(number: int, *addresses: tuple[str, str | None, str | None], **fields: Any) -> dict[str, Any]:
    held = [
        {"address": address, "kind": "alias"}
        | ({"from": begins} if begins else {})
        | ({"until": until} if until else {})
        for address, begins, until in addresses
    ]
    return {"id": f"c{number}", "name": f"Person {number}", "addresses": held} | fields


def directory(*people: dict[str, Any], groups: list[dict[str, Any]] | None = None) -> Custodians:
    state = Custodians()
    assert state.take({"act": "custodian.group", "groups": groups or []}, 0)
    assert state.take({"act": "custodian.set", "people": list(people)}, 1)
    return state


ANNE = person(1, ("anne@ex.fr", None, "2024-05-31"), ("a.martin@ex.fr", "2024-03-01", None))
LATER = person(2, ("anne@ex.fr", "2024-06-01", None), name="Anne Roux")


def test_an_address_is_answered_by_its_holder_of_that_day() -> None:
    state = directory(ANNE, LATER)
    assert resolve(state, "Anne@Ex.fr", on="2024-05-31").id == "c1"
    assert resolve(state, "anne@ex.fr", on="2024-06-01").id == "c2"
    assert resolve(state, "a.martin@ex.fr").id == "c1"
    with pytest.raises(Refused) as several:
        resolve(state, "anne@ex.fr")
    assert several.value.code == "custodian.ambiguous"
    assert "c1" in str(several.value) and "@" not in str(several.value)


def test_a_person_is_found_by_id_then_address_then_name() -> None:
    state = directory(ANNE, LATER)
    assert resolve(state, "c2").id == resolve(state, "anne ROUX").id == "c2"
    for unknown in ("c3", "nobody@ex.fr", "Zoé", ""):
        with pytest.raises(NotFound):
            resolve(state, unknown)


def test_two_people_of_one_name_are_not_guessed() -> None:
    state = directory(person(1, name="Jean Petit"), person(2, name="jean petit"))
    with pytest.raises(Refused, match="c1, c2"):
        resolve(state, "Jean Petit")


def test_a_query_holds_each_address_to_its_days() -> None:
    state = directory(ANNE)
    node, resolution = query_of(state, resolve(state, "c1"))
    assert node == Or(
        (
            And((Text("anne@ex.fr", "participants"), Sent(None, "2024-05-31"))),
            And((Text("a.martin@ex.fr", "participants"), Sent("2024-03-01", None))),
        )
    )
    assert resolution.plain() == {
        "id": "c1",
        "name": "Person 1",
        "addresses": [
            {"address": "anne@ex.fr", "from": None, "until": "2024-05-31"},
            {"address": "a.martin@ex.fr", "from": "2024-03-01", "until": None},
        ],
        "unresolved": [],
    }


def test_groups_count_only_when_asked_for_and_for_the_days_in_them() -> None:
    groups = [{"id": "g1", "name": "Achats", "address": "achats@ex.fr"}, {"id": "g2", "name": "Cercle"}]
    member = [{"group": "g1", "from": "2023-01-01"}, {"group": "g2"}, {"group": "g9"}]
    state = directory(person(1, ("anne@ex.fr", None, None), groups=member), groups=groups)
    anne = resolve(state, "c1")
    assert resolution_of(state, anne).used == (Used("anne@ex.fr"),)
    asked = resolution_of(state, anne, groups=True)
    assert asked.used == (Used("anne@ex.fr"), Used("achats@ex.fr", "2023-01-01"))
    assert asked.unresolved == (Unresolved("g2", "group.without_address"), Unresolved("g9", "group.unknown"))


def test_what_cannot_be_searched_for_is_said() -> None:
    old = {"address": "/o=ex/cn=anne", "kind": "other"}
    state = directory(person(1, addresses=[old]), person(2))
    anne = resolve(state, "c1")
    assert resolution_of(state, anne) == Resolution(
        "c1",
        "Person 1",
        (),
        (
            Unresolved("/o=ex/cn=anne", "address.not_smtp"),
            Unresolved("c1", "custodian.without_address"),
        ),
    )
    with pytest.raises(Invalid) as without:
        query_of(state, anne)
    assert without.value.code == "custodian.without_address"


def test_many_names_are_each_answered() -> None:
    state = directory(ANNE, LATER)
    found = resolutions(state, ["c1", "anne@ex.fr", "zoe@ex.fr", "c1"])
    assert [each.id for each in found] == ["c1", "", ""]
    assert [each.unresolved for each in found] == [
        (),
        (Unresolved("anne@ex.fr", "custodian.ambiguous"),),
        (Unresolved("zoe@ex.fr", "custodian.unknown"),),
    ]
    assert query_of_all(found) == query_of(state, resolve(state, "c1"))[0]
    assert query_of_all(found[1:]) is None


def test_people_in_a_query_are_put_into_addresses() -> None:
    state = directory(person(1, ("anne@ex.fr", None, None)), person(2, ("bob@ex.fr", None, None)))
    query = parse('contrat AND (custodian:c1 OR NOT custodian:"Person 2")')
    node, used = expanded(query, state)
    anne, bob = Text("anne@ex.fr", "participants"), Text("bob@ex.fr", "participants")
    assert node == And((Text("contrat"), Or((anne, Not(bob)))))
    assert [each.id for each in used] == ["c1", "c2"]
    assert expanded(parse("contrat"), state) == (Text("contrat"), ())
    assert parse("custodian:c1") == Named("c1")


@pytest.mark.parametrize(
    ("query", "position", "code"),
    [
        ("a custodian:c9", 12, "custodian.unknown"),
        ("custodian:anne@ex.fr", 10, "custodian.ambiguous"),
        ("(custodian:c3)", 11, "custodian.without_address"),
        ("custodian:c4 OR custodian:c5 OR custodian:c6", 42, "query.too_complex"),
    ],
)
def test_a_person_that_is_not_certain_is_an_error_at_its_place(query: str, position: int, code: str) -> None:
    many = [
        person(number, *((f"a{number}.{each}@ex.fr", None, None) for each in range(450)))
        for number in (4, 5, 6)
    ]
    state = directory(ANNE, LATER, person(3), *many)
    with pytest.raises(QueryError) as wrong:
        expanded(parse(query), state)
    assert (wrong.value.position, wrong.value.code) == (position, code)


@pytest.mark.parametrize(
    "query", ["custodian:(a OR b)", 'custodian:" "', "custodian:", "a NEAR/3 custodian:b"]
)
def test_a_person_stands_alone_in_his_field(query: str) -> None:
    with pytest.raises(QueryError):
        parse(query)


def test_a_record_is_whole_from_its_newest_act_on() -> None:
    state = directory(ANNE, LATER)
    state.take({"act": "custodian.set", "people": [person(1, ("new@ex.fr", None, None))]}, 7)
    assert [each.id for each in state.holders("anne@ex.fr")] == ["c2"]
    assert state.holders("a.martin@ex.fr") == []
    assert [each.id for each in state.holders("new@ex.fr")] == ["c1"]
    assert (state.version("c1"), state.version("c2"), state.version("c3"), state.last) == (7, 1, None, 7)
    assert [each.id for each in state.everyone()] == ["c1", "c2"]


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"id": "c1"},
        person(1, ("Anne@ex.fr", None, None)),
        person(1, ("anne", None, None)),
        person(1, ("a b@ex.fr", None, None)),
        person(1, ("a@ex.fr", "2024-02-30", None)),
        person(1, ("a@ex.fr", "2024-02-02", "2024-02-01")),
        person(1, ("a@ex.fr", None, "2024-02-01"), ("a@ex.fr", "2024-02-01", None)),
        person(1, joined="2024-02-02", left="2024-02-01"),
        person(1, groups=[{"group": "g"}, {"group": "g", "from": "2024-01-01"}]),
        person(1, name="a\nb"),
        person(1, external={"É": "x"}),
        person(1, nickname="x"),
    ],
    ids=lambda value: str(sorted(value)),
)
def test_a_record_that_cannot_be_is_never_read(record: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Custodian.model_validate(record)
    state = Custodians()
    try:
        state.take({"act": "custodian.set", "people": [person(9), record]}, 3)
    except (KeyError, TypeError):
        assert len(state) == 0 and state.last == -1  # all of an act, or nothing of it
    else:
        with pytest.raises(Tampered):
            state.get("c1")
        assert state.get("c9") is not None


def test_other_acts_are_not_of_this_family() -> None:
    assert not Custodians().take({"act": "source.add"}, 0)


days = st.dates(date(1900, 1, 1), date(9998, 1, 1)).map(lambda day: day.isoformat()) | st.none()


@given(days, days, days, days, st.dates(date(1900, 1, 1), date(9998, 1, 1)).map(lambda day: day.isoformat()))
def test_spans_meet_exactly_when_a_day_is_in_both(
    begins: str | None, until: str | None, other_begins: str | None, other_until: str | None, day: str
) -> None:
    try:
        one = Dated(begins=begins, until=until)
        other = Dated(begins=other_begins, until=other_until)
    except ValidationError:
        return
    candidates = [each for each in (begins, until, other_begins, other_until, day) if each]
    assert one.meets(other) is any(one.on(each) and other.on(each) for each in candidates)
    assert one.meets(other) is other.meets(one)


@given(st.text(max_size=60))
def test_an_address_is_compared_as_the_index_compares_it(text: str) -> None:
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        return
    assert address_key(text) == analysis.address_key(text)
    if is_smtp(address_key(text)):
        assert HeldAddress(address=address_key(text)).address == address_key(text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_name_in_a_query_parses_or_says_where(first: str, second: str) -> None:
    state = directory(ANNE)
    try:
        expanded(parse(f"custodian:{first} {second}"), state)
    except QueryError as error:
        assert error.position >= 0


def test_custodian_records_come_back_as_they_were() -> None:
    record = person(1, ("anne@ex.fr", "2020-01-01", None), left="2026-01-01", external={"csv": "é7"})
    assert Custodian.model_validate(record).plain() == record | {"groups": []}
