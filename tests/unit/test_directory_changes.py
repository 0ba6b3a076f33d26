"""Changes of the directory: what imports make of records, who holds an address on a day, and what is refused."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.access.directory import resolve
from archive_service.directory.changes import DirectoryChanges, Report
from archive_service.directory.csv_people import read_csv
from archive_service.directory.incoming import GivenAddress, GivenGroup, Incoming, Read
from archive_service.directory.planning import Source, plan
from archive_service.ledger.custodians import Custodians
from archive_service.model.custodians import AddressKind, Custodian, day_after
from archive_service.model.errors import Invalid, NotFound, Refused, SlotLost, StoreError
from archive_service.vault.stores.faults import Effect
from tests.unit.core_world import Archive

TODAY = "2026-03-01"  # where the test world's clock stands


@pytest.fixture
def archive() -> Iterator[Archive]:
    made = Archive()
    yield made
    made.world.close()


class Directory:
    """One process's view of the directory, and its hand on it."""

    def __init__(self, archive: Archive) -> None:
        self.acts = archive.acts()
        self.world = archive.world
        self.changes = DirectoryChanges(self.acts, archive.world.clock)

    def csv(self, text: str, *, origin: str = "csv", **options: Any) -> Report:
        keep = {name: options.pop(name) for name in ("complete", "most_leavers") if name in options}
        read = read_csv(text.encode(), origin)
        return self.changes.take_in(read, Source(origin, **keep), by="anne", **options)

    def person(self, wanted: str) -> Custodian:
        self.acts.refresh()
        return resolve(self.acts.custodians, wanted)

    def spans(self, wanted: str) -> list[tuple[str, str | None, str | None]]:
        return [(each.address, each.begins, each.until) for each in self.person(wanted).addresses]

    def put(self, custodian: str | None = None, version: int | None = None, **fields: Any) -> Custodian:
        return self.changes.put(
            lambda stored: fields, by="anne", origin="api", custodian=custodian, version=version
        )[0]


@pytest.fixture
def directory(archive: Archive) -> Directory:
    return Directory(archive)


def holders_are_one_a_day(state: Custodians) -> None:
    """The promise: no address has two holders on one day."""
    spans: dict[str, list[tuple[str, str]]] = {}
    for custodian in state.everyone():
        for held in custodian.addresses:
            spans.setdefault(held.address, []).append((held.begins or "0", held.until or "9"))
    for held_in_turn in spans.values():
        for before, behind in pairwise(sorted(held_in_turn)):
            assert before[1] < behind[0], (before, behind)


def test_people_come_in_once_and_an_unchanged_file_writes_nothing(
    directory: Directory, archive: Archive
) -> None:
    text = "id;name;address;aliases;groups\n7;Anne Martin;Anne@Ex.fr;am@ex.fr | a@ex.fr;Achats|ventes@ex.fr\n"
    report = directory.csv(text)
    assert (report.applied, report.added, report.groups, report.troubles) == (True, 1, 2, [])
    assert directory.spans("anne@ex.fr") == [
        ("anne@ex.fr", None, None),
        ("a@ex.fr", None, None),
        ("am@ex.fr", None, None),
    ]
    groups = {group.name: group.address for group in directory.acts.custodians.groups()}
    assert groups == {"Achats": None, "ventes@ex.fr": "ventes@ex.fr"}
    before = len(archive.entries(directory.acts.log))
    again = directory.csv(text)
    assert (again.unchanged, again.added, again.changed, again.groups) == (1, 0, 0, 0)
    assert len(archive.entries(directory.acts.log)) == before


def test_many_people_stand_in_few_acts_and_another_process_reads_them(
    directory: Directory, archive: Archive
) -> None:
    rows = "".join(f"{number},Person {number},p{number}@ex.fr\n" for number in range(1201))
    before = len(archive.entries(directory.acts.log))
    assert directory.csv("id,name,address\n" + rows).added == 1201
    assert len(archive.entries(directory.acts.log)) == before + 3
    assert Directory(archive).person("p1200@ex.fr").name == "Person 1200"
    lines = b"".join(entry.line for entry in archive.entries(directory.acts.log))
    assert b"ex.fr" not in lines and b"Person" not in lines
    assert archive.damage() == []


def test_an_address_that_the_source_no_longer_names_ends_today(directory: Directory) -> None:
    directory.csv("id,address,aliases\n7,anne@ex.fr,old@ex.fr\n")
    directory.csv("id,address,aliases\n7,anne@ex.fr,new@ex.fr\n")
    assert set(directory.spans("anne@ex.fr")) == {
        ("anne@ex.fr", None, None),
        ("old@ex.fr", None, TODAY),
        ("new@ex.fr", None, None),
    }
    directory.csv("id,address,aliases\n7,anne@ex.fr,new@ex.fr|old@ex.fr\n")
    assert ("old@ex.fr", None, None) in directory.spans("anne@ex.fr")  # taken back the same day


def test_a_name_that_comes_back_later_begins_anew(directory: Directory) -> None:
    directory.csv("id,address,aliases,groups\n7,anne@ex.fr,old@ex.fr,G\n")
    directory.csv("id,address,aliases,groups\n7,anne@ex.fr,,\n")
    directory.world.clock.pass_days(10)
    directory.csv("id,address,aliases,groups\n7,anne@ex.fr,old@ex.fr,G\n")
    spans = [span for span in directory.spans("anne@ex.fr") if span[0] == "old@ex.fr"]
    assert spans == [("old@ex.fr", None, TODAY), ("old@ex.fr", "2026-03-11", None)]
    member = directory.person("anne@ex.fr").groups
    assert [(each.begins, each.until) for each in member] == [(None, TODAY), ("2026-03-11", None)]


def test_columns_that_are_not_there_say_nothing(directory: Directory) -> None:
    directory.csv("id,name,address,department,left\n7,Anne,anne@ex.fr,Achats,2026-02-01\n")
    directory.csv("id,entity\n7,Exemple SA\n")
    anne = directory.person("anne@ex.fr")
    assert (anne.name, anne.department, anne.entity, anne.left) == (
        "Anne",
        "Achats",
        "Exemple SA",
        "2026-02-01",
    )
    directory.csv("id,department,left\n7,,\n")
    anne = directory.person("anne@ex.fr")
    assert (anne.department, anne.left, len(anne.addresses)) == (None, None, 1)


def test_an_address_of_a_leaver_passes_on_and_stays_his_for_the_past(directory: Directory) -> None:
    directory.csv("id,address,left\n7,info@ex.fr,2026-01-31\n")
    report = directory.csv("id,address,joined\n8,info@ex.fr,2026-02-15\n")
    assert (report.added, report.passed_on, report.troubles) == (1, 1, [])
    state = directory.acts.custodians
    assert resolve(state, "info@ex.fr", on="2026-02-14").external == {"csv": "7"}
    assert resolve(state, "info@ex.fr", on="2026-03-01").external == {"csv": "8"}
    # and both files again: nothing moves
    again = directory.csv("id,address,left\n7,info@ex.fr,2026-01-31\n8,info@ex.fr,\n")
    assert (again.unchanged, again.troubles) == (2, [])


def test_an_address_that_changes_hands_in_one_file_does_so_today(directory: Directory) -> None:
    directory.csv("id,address\n7,info@ex.fr\n8,bob@ex.fr\n")
    report = directory.csv("id,address\n8,info@ex.fr\n7,bob@ex.fr\n")  # they swap
    assert (report.changed, report.troubles) == (2, [])
    state = directory.acts.custodians
    assert resolve(state, "info@ex.fr", on="2026-02-28").external == {"csv": "7"}
    assert resolve(state, "info@ex.fr", on=TODAY).external == {"csv": "8"}
    assert resolve(state, "bob@ex.fr", on=TODAY).external == {"csv": "7"}
    holders_are_one_a_day(state)


def test_disjoint_days_of_one_address_are_right_and_meeting_ones_are_named(directory: Directory) -> None:
    report = directory.csv(
        "id,address\n1,info@ex.fr ..2024-05-31\n2,info@ex.fr 2024-06-01..\n"
        "3,info@ex.fr 2025-01-01..2025-02-01\n4,other@ex.fr\n"
    )
    assert (report.added, [(each.place, each.code) for each in report.troubles]) == (
        2,
        [(3, "address.conflict"), (4, "address.conflict")],
    )
    holders_are_one_a_day(directory.acts.custodians)


def test_an_active_holder_keeps_his_address_and_the_row_is_named(directory: Directory) -> None:
    directory.csv("id,address\n7,info@ex.fr\n")
    report = directory.csv("id,address,aliases\n8,bob@ex.fr,info@ex.fr\n9,carl@ex.fr,\n")
    assert (report.added, [(each.place, each.code) for each in report.troubles]) == (
        1,
        [(2, "address.conflict")],
    )
    assert directory.person("info@ex.fr").external == {"csv": "7"}
    with pytest.raises(NotFound):
        directory.person("bob@ex.fr")
    assert "@" not in report.troubles[0].detail


def test_strict_takes_all_or_nothing_and_a_dry_run_nothing(directory: Directory, archive: Archive) -> None:
    before = len(archive.entries(directory.acts.log))
    text = "id,address,joined\n1,a@ex.fr,2026-13-01\n2,b@ex.fr,2026-01-01\n"
    strict = directory.csv(text, strict=True)
    assert (strict.applied, [(each.place, each.code) for each in strict.troubles]) == (
        False,
        [(2, "row.invalid")],
    )
    dry = directory.csv(text, dry_run=True)
    assert (dry.applied, dry.added, dry.changes[0].what) == (False, 1, "added")
    assert len(archive.entries(directory.acts.log)) == before
    assert directory.csv(text).applied
    assert directory.person("b@ex.fr").joined == "2026-01-01"


def test_who_is_missing_from_a_complete_file_has_left_and_is_still_there(directory: Directory) -> None:
    directory.csv("id,address\n1,a@ex.fr\n2,b@ex.fr\n3,c@ex.fr\n")
    directory.put(name="By hand", addresses=[{"address": "d@ex.fr"}])
    with pytest.raises(Refused) as many:
        directory.csv("id,address\n1,a@ex.fr\n", complete=True, most_leavers=1)
    assert many.value.code == "import.many_leavers"
    report = directory.csv("id,address\n1,a@ex.fr\n3,c@ex.fr,x\n", complete=True)
    assert (report.left, [each.code for each in report.troubles]) == (2, ["row.columns"])
    report = directory.csv("id,address\n1,a@ex.fr\n2,b@ex.fr\n3,c@ex.fr\n", complete=True)
    assert report.left == 0
    assert directory.person("b@ex.fr").left == TODAY
    assert directory.person("d@ex.fr").left is None


def test_a_person_known_by_hand_is_recognised_by_his_address(directory: Directory) -> None:
    made = directory.put(name="Anne", addresses=[{"address": "anne@ex.fr", "kind": "primary"}])
    report = directory.csv("id,name,address\n7,Anne Martin,anne@ex.fr\n")
    assert (report.added, report.changed) == (0, 1)
    assert directory.person("anne@ex.fr").id == made.id
    assert directory.csv("id,address\n7,a.martin@ex.fr\n").changed == 1
    assert directory.person("a.martin@ex.fr").id == made.id


def test_a_row_that_fits_two_people_is_not_guessed(directory: Directory) -> None:
    directory.put(name="A", addresses=[{"address": "a@ex.fr"}])
    directory.put(name="B", addresses=[{"address": "b@ex.fr"}])
    report = directory.csv("id,address,aliases\n7,a@ex.fr,b@ex.fr\n")
    assert [each.code for each in report.troubles] == ["custodian.ambiguous"]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("7,anne@ex.fr,2026-02-30,", "row.invalid"),
        ("7,anne@ex.fr,2026-02-02,2026-02-01", "row.invalid"),
        ("7,anne,,", "row.address"),
        ("7,a@ex.fr|b@ex.fr,,", "row.address"),
        ("7,a@ex.fr 2026..x,,", "row.invalid"),
        ("7,a@ex.fr 2026-02-02..2026-02-01,,", "row.invalid"),
        (",,2026-01-01,", "row.nobody"),
        ('7,"a@ex.fr"x,,', "row.quotes"),
        ("7,a@ex.fr,,,", "row.columns"),
        ("9,b@ex.fr,,", "row.double"),
    ],
)
def test_a_row_that_cannot_be_is_named_by_its_line_and_the_others_are_taken(
    directory: Directory, row: str, code: str
) -> None:
    report = directory.csv(f'id,address,joined,left\n9,"nine@ex.fr",,\n{row}\n8,eight@ex.fr,,\n')
    assert [(each.place, each.code) for each in report.troubles] == [(3, code)]
    assert report.added == 2
    assert all("ex.fr" not in each.detail for each in report.troubles)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "csv.columns"),
        (b"name\nAnne\n", "csv.columns"),
        (b"id,id\n1,2\n", "csv.columns"),
        (b"anne@ex.fr,Anne\n", "csv.columns"),
        ("id\né\n".encode("latin-1"), "csv.encoding"),
    ],
)
def test_a_file_that_is_none_is_refused_without_its_words(data: bytes, code: str) -> None:
    with pytest.raises(Invalid) as wrong:
        read_csv(data)
    assert wrong.value.code == code and "@" not in str(wrong.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_spelling_of_a_file_reads_the_same(separator: str, mark: str, end: str) -> None:
    lines = [["ID", " Name "], ["7", '"Martin, Anne; x"'], [], ["8", '"two\nlines"'], ["9", "Zoé"]]
    text = mark + "".join(separator.join(cells) + end for cells in lines)
    read = read_csv(text.encode())
    assert [(each.place, each.external["csv"]) for each in read.people] == [(2, "7"), (4, "8"), (6, "9")]
    assert read.people[0].name == "Martin, Anne; x"


def test_a_record_set_by_hand_is_whole_and_guarded_by_its_version(directory: Directory) -> None:
    made = directory.put(name="Anne", addresses=[{"address": "anne@ex.fr"}], department="Achats")
    version = directory.acts.custodians.version(made.id)
    assert version is not None
    changed = directory.put(made.id, version, name="Anne M")
    assert (changed.id, changed.department, changed.addresses) == (made.id, None, ())
    with pytest.raises(Refused) as late:
        directory.put(made.id, version, name="Late")
    assert late.value.code == "custodian.changed"
    with pytest.raises(NotFound):
        directory.put("c-none", name="x")
    with pytest.raises(Invalid, match="addresses"):
        directory.put(name="x", addresses=[{"address": "no"}])


def test_by_hand_an_address_has_one_holder_and_an_external_id_one_person(directory: Directory) -> None:
    anne = directory.put(name="Anne", addresses=[{"address": "a@ex.fr"}], external={"hr": "7"})
    with pytest.raises(Refused) as taken:
        directory.put(name="Bob", addresses=[{"address": "a@ex.fr", "from": "2020-01-01"}])
    assert taken.value.code == "custodian.address_taken" and anne.id in str(taken.value)
    with pytest.raises(Refused) as called:
        directory.put(name="Bob", external={"hr": "7"})
    assert called.value.code == "custodian.external_taken"
    directory.put(anne.id, name="Anne", left="2026-02-01", addresses=[{"address": "a@ex.fr"}])
    bob = directory.put(name="Bob", addresses=[{"address": "a@ex.fr"}], external={"hr": "7"})
    assert bob.addresses[0].begins == TODAY
    holders_are_one_a_day(directory.acts.custodians)


def test_what_two_processes_decide_at_once_is_judged_at_the_head(archive: Archive) -> None:
    ours, theirs = Directory(archive), Directory(archive)
    ours.acts.refresh(), theirs.acts.refresh()
    ours.put(name="Anne", addresses=[{"address": "a@ex.fr"}])
    with pytest.raises(Refused):
        theirs.put(name="Bob", addresses=[{"address": "a@ex.fr"}])
    report = theirs.csv("id,address\n7,a@ex.fr\n")
    assert (report.added, report.changed) == (0, 1)  # the same person, seen at the head


def test_an_import_is_planned_again_when_somebody_was_faster(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Directory(archive), Directory(archive)
    import archive_service.directory.changes as changes

    real, raced = changes.plan, []

    def racing(*arguments: Any) -> Any:
        made = real(*arguments)
        if not raced:
            raced.append(theirs.put(name="Anne", addresses=[{"address": "a@ex.fr"}]))
        return made

    monkeypatch.setattr(changes, "plan", racing)
    report = ours.csv("id,address\n7,a@ex.fr\n")
    assert (report.added, report.changed) == (0, 1)
    assert ours.person("a@ex.fr").id == raced[0].id


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
def test_an_import_that_fails_midway_is_finished_by_the_next(archive: Archive, effect: Effect) -> None:
    rows = "".join(f"{number},p{number}@ex.fr\n" for number in range(1100))
    ours = Directory(archive)
    prefix = f"ledger/{archive.owner}/acts/"
    archive.world.plan.fail("create", 2, effect, prefix=prefix, times=None)
    if effect is Effect.LOST:
        with pytest.raises((StoreError, SlotLost)):
            ours.csv("id,address\n" + rows)
    else:  # read back, it is there
        assert ours.csv("id,address\n" + rows).added == 1100
    archive.world.heal()
    between = Directory(archive)
    between.acts.refresh()
    assert len(between.acts.custodians) == (500 if effect is Effect.LOST else 1100)
    report = Directory(archive).csv("id,address\n" + rows)
    assert report.added + report.unchanged == 1100
    final = Directory(archive)
    final.acts.refresh()
    assert len(final.acts.custodians) == 1100
    assert archive.damage() == []


names = st.sampled_from(["a@ex.fr", "b@ex.fr", "c@ex.fr"])
day = st.sampled_from([None, "2026-02-20", "2026-03-01", "2026-03-05", "2026-03-09"])


@st.composite
def rows(draw: st.DrawFn) -> list[Incoming]:
    found = []
    for place, key in enumerate(draw(st.lists(st.sampled_from("1234"), unique=True, min_size=1)), 1):
        addresses = tuple(
            GivenAddress(address, AddressKind.ALIAS, *sorted_days(draw(day), draw(day)))
            for address in draw(st.lists(names, unique=True, max_size=3))
        )
        left = draw(st.sampled_from(["", "2026-02-25", "2026-03-03"]))
        groups = (GivenGroup("g", "g"),) if draw(st.booleans()) else ()
        found.append(Incoming(place, {"csv": key}, addresses=addresses, groups=groups, left=left))
    return found


def sorted_days(first: str | None, second: str | None) -> tuple[str | None, str | None]:
    return (second, first) if first and second and second < first else (first, second)


@settings(max_examples=150, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=4))
def test_whatever_is_imported_an_address_has_one_holder_a_day(files: list[list[Incoming]]) -> None:
    """And a file without days that is taken twice on one day changes nothing the second time."""
    state, today = Custodians(), "2026-03-01"
    ids = iter(range(1000))
    for position, people in enumerate(files):
        for again in (False, True):
            made = plan(state, Read(people), Source("csv"), today, lambda kind: f"{kind}{next(ids)}")
            dated = any(address.dated for each in people for address in each.addresses or ())
            if again and not dated and not made.troubles:
                assert not made.people and not made.groups
            for part in (made.people[:1], made.people[1:]):  # as if cut off behind the first record
                state.take({"act": "custodian.group", "groups": [g.plain() for g in made.groups]}, position)
                state.take({"act": "custodian.set", "people": [each.plain() for each in part]}, position)
            holders_are_one_a_day(state)
        today = day_after(today)


@settings(deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: f"id,address\n{text}".encode()))
def test_any_bytes_are_people_or_a_named_trouble(data: bytes) -> None:
    try:
        read = read_csv(data)
    except Invalid as error:
        assert error.code.startswith("csv.")
        return
    made = plan(Custodians(), read, Source("csv"), TODAY, iter_ids())
    lines = data.count(b"\n") + data.count(b"\r") + 2
    assert all(0 < each.place <= lines for each in made.troubles)


def iter_ids() -> Any:
    ids = iter(range(1000))
    return lambda kind: f"{kind}{next(ids)}"
