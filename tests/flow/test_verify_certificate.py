"""Certificates and yearly packs, checked by ``verify-bundle`` without the archive; nothing of one is changed unseen."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive_service.export.verify_certificate import verify_certificate
from archive_service.ledger.note import Signer
from tests.flow.archive_fixtures import done, no_settings_around, run
from tests.flow.real_api import RealApi
from tests.flow.test_disposition import archived, at_once, decided, forward
from tests.flow.test_event_journal import certificate as of_event
from tests.flow.test_event_journal import events, sealed
from tests.flow.test_orders import archived as archived_for_orders
from tests.flow.test_orders import certified, ordered
from tests.flow.test_yearly_pack import whole as yearly_pack

__all__ = ["at_once", "no_settings_around"]

Whole = dict[str, Any]


@pytest.fixture
def made(api: RealApi, tmp_path: Path) -> Whole:
    """The certificate of a disposition of two captures."""
    archived(api, tmp_path)
    name = decided(api)
    forward(api)
    sealed(api)
    answer = api.call("GET", f"/v1/dispositions/{name}/certificate", "auditor", "aude")
    assert answer.status_code == 200, answer.text
    found: Whole = answer.json()
    return found


def written(folder: Path, whole: Whole, name: str = "certificate.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(whole, ensure_ascii=False), "utf-8")
    return path


def kinds(path: Path, *keys: str) -> set[str]:
    return {line.split(" ")[0] for line in verify_certificate(path, keys)}


def test_certificate_of_a_disposition_is_checked_without_the_archive(api, made, tmp_path):
    path = written(tmp_path, made)
    assert done("verify-bundle", path, "--json").answer == {"ok": True, "problems": []}
    path.write_text(json.dumps(made, indent=1), "utf-8")  # as the command prints it
    assert done("verify-bundle", path).out.strip() == "OK"
    keys = [*made["keys"]["log"], *made["keys"]["root"]]
    assert not kinds(path, *keys)
    assert kinds(path, Signer("somebody", b"s" * 32).vkey) == {"note", "proof"}
    assert run("verify-bundle", path, "--key", "no key").code == 2


def test_certificate_of_an_order_and_of_events_and_a_yearly_pack_are_checked_too(api, tmp_path):
    archived_for_orders(api, tmp_path, "contrat")
    order = ordered(api, "erase", query="contrat")
    for _ in range(2):
        forward(api)
    assert not kinds(written(tmp_path, certified(api, order)))
    sealed(api)
    for number, event in enumerate(events(api)):
        path = written(tmp_path, of_event(api, event), f"{number}.json")
        assert not kinds(path), event
    whole = yearly_pack(api)
    assert done("verify-bundle", written(tmp_path, whole, "pack.json"), "--json").answer["ok"]
    whole["pack"]["rights"]["in_force"].append({})
    assert kinds(written(tmp_path, whole, "pack.json")) == {"note"}


def _places(whole: Whole) -> None:
    del whole["certificate"]["places"][0]


def _captures(whole: Whole) -> None:
    whole["certificate"]["captures"] = 3


def _date(whole: Whole) -> None:
    whole["certificate"]["made_unreadable_on"] = "2020-01-01T00:00:00.000000Z"


def _id(whole: Whole) -> None:
    whole["certificate"]["disposition"] = "d0"


def _owner(whole: Whole) -> None:
    whole["certificate"]["owner"] = "0" * 20


def _entry(whole: Whole) -> None:
    whole["proofs"][0]["entry"] = whole["proofs"][0]["entry"].replace('"type":"act"', '"type":"axt"')


def _path(whole: Whole) -> None:
    whole["proofs"][1]["inclusion"]["hashes"].reverse()
    whole["proofs"][1]["inclusion"]["hashes"].pop()


def _place(whole: Whole) -> None:
    whole["proofs"][0]["inclusion"]["index"] += 1


def _twice(whole: Whole) -> None:
    whole["proofs"].append(whole["proofs"][0])


def _none_left(whole: Whole) -> None:
    whole["proofs"].clear()


def _anchor(whole: Whole) -> None:
    whole["proofs"][0]["root"]["anchor"] = "0" * 64


def _salt(whole: Whole) -> None:
    whole["proofs"][0]["root"]["salt"] = "0" * 64


def _checkpoint(whole: Whole) -> None:
    whole["proofs"][0]["checkpoint"] = whole["proofs"][0]["root"]["checkpoint"]


def _root_entry(whole: Whole) -> None:
    whole["proofs"][0]["root"]["entry"] += " "


def _note(whole: Whole) -> None:
    lines = whole["note"].split("\n")
    whole["note"] = "\n".join([lines[0], "9", *lines[2:]])


def _keys(whole: Whole) -> None:
    whole["keys"]["root"] = [Signer("archive", b"s" * 32).vkey]


def _more(whole: Whole) -> None:
    whole["remark"] = "as agreed"


def _number(whole: Whole) -> None:
    whole["certificate"]["captures"] = 2.0


CHANGES: list[tuple[Callable[[Whole], None], set[str]]] = [
    (_places, {"note", "count"}),
    (_captures, {"note", "count"}),
    (_date, {"note"}),
    (_id, {"note"}),
    (_owner, {"note", "proof"}),
    (_entry, {"proof"}),
    (_path, {"proof"}),
    (_place, {"proof"}),
    (_twice, {"proof"}),
    (_none_left, {"proof"}),
    (_anchor, {"anchor"}),
    (_salt, {"anchor"}),
    (_checkpoint, {"proof"}),
    (_root_entry, {"anchor"}),
    (_note, {"note"}),
    (_keys, {"note", "anchor"}),
    (_more, {"form"}),
    (_number, {"form"}),
]


def test_tamper_certificate_whatever_is_changed_is_named(made, tmp_path):
    for change, expected in CHANGES:
        whole = copy.deepcopy(made)
        change(whole)
        path = written(tmp_path, whole)
        assert kinds(path) == expected, change.__name__
        assert run("verify-bundle", path, "--json").code == 1


def test_tamper_certificate_a_member_that_is_there_twice_is_named(made, tmp_path):
    text = json.dumps(made)
    path = tmp_path / "twice.json"
    path.write_text(text.replace('"captures": 2', '"captures": 9, "captures": 2', 1), "utf-8")
    assert kinds(path) == {"form"}


def test_certificate_of_one_event_does_not_do_for_another(api, tmp_path):
    archived(api, tmp_path)
    sealed(api)
    first, second = (of_event(api, event) for event in events(api)[:2])
    second["certificate"]["entry_sha256"] = first["certificate"]["entry_sha256"]
    assert kinds(written(tmp_path, second)) == {"note", "event"}
    first["proofs"] = second["proofs"]
    assert "event" in kinds(written(tmp_path, first))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_tamper_certificate_no_byte_is_free(made, tmp_path, data):
    """A byte of the file is changed: it is named, or what a reader gets out of the file is the same."""
    whole = json.dumps(made).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    path = tmp_path / "changed.json"
    path.write_bytes(changed)
    if verify_certificate(path):
        return
    read = json.loads(changed)
    assert (read["certificate"], _proven(read)) == (made["certificate"], _proven(made))


def _proven(whole: Whole) -> list[Whole]:
    """Without what the archive calls a sealed act, which only says where to look."""
    return [{name: value for name, value in each.items() if name != "act"} for each in whole["proofs"]]
