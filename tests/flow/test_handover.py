"""A departing tenant: what it is owed, whole and readable; and the same tenant in another archive."""

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from archive_service.bootstrap import open_core
from archive_service.ledger import merkle
from archive_service.ledger.anchors import anchor_of
from archive_service.ledger.note import Verifier
from archive_service.settings import Settings
from archive_service.tenant_services import open_tenant
from tests.flow.archive_fixtures import Copy, Said, Unfollowed, built, copy, mail, run, verify
from tests.flow.test_rebuild import index_of, tables
from tests.flow.test_relocate import content, embedded

__all__ = ["built", "copy"]


@pytest.fixture
def packed(copy: Copy, tmp_path: Path) -> Path:
    """A package of the tenant acme; its key lies in ``package.key`` beside it."""
    assert run("search", "essai", "--tenant", "acme", "--data", copy.data).code == 0
    said = hand_over(copy, tmp_path)
    assert said.code == 0, said.out
    return tmp_path / "package"


def hand_over(copy: Copy, tmp_path: Path, *more: object) -> Said:
    return run(
        "handover", "--tenant", "acme", "--to", tmp_path / "package", "--data", copy.data, "--json", *more
    )


def load(package: Path, data: Path, key: Path | None = None) -> Said:
    chosen = key or package.with_name("package.key")
    return run("handover-load", package, "--key-file", chosen, "--data", data, "--json")


def access(data: Path) -> list[Any]:
    core = open_core(Settings(data=data))
    try:
        opened = open_tenant(core, core.tenant("acme"))
        try:
            records, _ = opened.services.access_log.newest(1000)
            return records
        finally:
            opened.close()
    finally:
        core.close()


# --- there ---------------------------------------------------------------------------------------------


def test_a_tenant_arrives_whole_in_an_empty_archive(copy: Copy, packed: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert run("rebuild", "--data", copy.data).code == 0
    said = load(packed, new)
    assert said.code == 0, said.out
    owner = copy.of.tenant
    assert said.answer["id"] == owner and said.answer["tenant"] == "acme"
    assert tables(new, owner) == tables(copy.data, owner)
    assert index_of(new, owner) == index_of(copy.data, owner)
    there, here = content(embedded(new)), content(embedded(copy.data))
    assert there and there.items() <= here.items()
    assert len(there) == len(tables(new, owner)["captures"])
    assert access(new) == access(copy.data)
    assert verify(new).answer["clean"]
    core = open_core(Settings(data=new))
    try:
        assert core.archive.owner != copy.of.archive
        assert [tenant.id for tenant in core.tenants()] == [owner]
    finally:
        core.close()


def test_the_tenant_goes_on_there(copy: Copy, packed: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert load(packed, new).code == 0
    core = open_core(Settings(data=new))
    try:
        tenant = core.tenant("acme")
        Unfollowed(core, tenant, tenant.acts.sources()[0]).write([mail(90)])
    finally:
        core.close()
    assert run("search", "subject:90", "--tenant", "acme", "--data", new).code == 0
    assert verify(new).answer["clean"]
    again = load(packed, new)  # repeating it changes nothing
    assert again.code == 0 and again.answer["copied"] == again.answer["moves"] == 0
    assert verify(new).answer["clean"]


def test_beside_another_tenant(copy: Copy, packed: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert run("init", "--data", new, "--tenant", "gamma").code == 0
    assert load(packed, new).code == 0
    assert verify(new).answer["clean"]


def test_an_interrupted_load_is_taken_up(
    copy: Copy, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archive_service.relocation.owners import OwnerCopy

    class Cut(BaseException):
        pass

    def cut(*given: Any, **named: Any) -> None:
        raise Cut

    new = tmp_path / "new"
    with monkeypatch.context() as patch:
        patch.setattr(OwnerCopy, "record_moves", cut)
        with pytest.raises(Cut):
            load(packed, new)
    said = load(packed, new)
    assert said.code == 0, said.out
    assert said.answer["copied"] == 0
    assert verify(new).answer["clean"]


# --- what lies in the package --------------------------------------------------------------------------


def test_every_mail_lies_there_plain(copy: Copy, packed: Path) -> None:
    everything = content(embedded(copy.data))
    mails = {path.stem: path.read_bytes() for path in (packed / "mail").glob("*.eml")}
    assert mails and mails.items() <= everything.items()
    rows = tables(copy.data, copy.of.tenant)["captures"]
    assert len(mails) == len(rows)
    for row in rows:
        about = json.loads((packed / "mail" / f"{row[0]}.json").read_text())
        assert about["capture"] == row[0] and about["message"] in row
        assert about["envelope"]["received_at"]


def test_the_access_log_and_the_handover_in_it(packed: Path) -> None:
    lines = [json.loads(line) for line in (packed / "access.jsonl").read_text().splitlines()]
    assert len(lines) > 300
    assert lines[0]["action"] == "handover.make"
    assert any(line["action"] == "search" for line in lines)


def test_manifest_covers_every_file(packed: Path) -> None:
    manifest = json.loads((packed / "manifest.json").read_bytes())
    named = {file["path"]: file for file in manifest["files"]}
    there = {str(path.relative_to(packed)) for path in packed.rglob("*") if path.is_file()}
    assert there == named.keys() | {"manifest.json", "manifest.mac"}
    for name, file in named.items():
        data = (packed / name).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["sha512"] == hashlib.sha512(data).hexdigest()
    assert manifest["counts"]["mails"] == len(list((packed / "mail").glob("*.eml")))


def test_its_checkpoints_are_proven_to_be_anchored(copy: Copy, packed: Path) -> None:
    """With hashes and the two public keys alone."""
    keys = dict(line.split() for line in (packed / "verifier-keys.txt").read_text().splitlines())
    tenant, root = Verifier([keys["tenant"]]), Verifier([keys["root"]])
    lines = [json.loads(line) for line in (packed / "proofs" / "anchors.jsonl").read_text().splitlines()]
    assert {line["log"].partition("/")[2] for line in lines} >= {"acts", "capture-1", "order-1", "access-1"}
    for line in lines:
        assert tenant.check(line["note"], line["log"]).size > 0
        assert anchor_of(bytes.fromhex(line["salt"]), line["note"]) == line["anchor"]
        proof = line["root"]
        assert line["anchor"] in json.loads(proof["entry"])["anchors"]
        point = root.check(proof["note"], proof["log"])
        path = [base64.b64decode(node) for node in proof["path"]]
        leaf = merkle.leaf_hash(proof["entry"].encode())
        assert merkle.verify_inclusion(leaf, proof["seq"], point.size, path, point.root)


def test_nothing_of_another_tenant(copy: Copy, packed: Path) -> None:
    others = [name.encode() for name in (copy.of.other, "essai 100", "essai 101")]
    for path in packed.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert copy.of.other not in str(path)
            assert not [other for other in others if other in data], path
    ledger = [path.name for path in (packed / "store" / "ledger").iterdir() if not path.name.startswith(".")]
    assert sorted(ledger) == sorted([copy.of.tenant, copy.of.archive])
    assert [path.name for path in (packed / "store" / "ledger" / copy.of.archive).iterdir()] == ["root"]
    assert not (packed / "keys" / copy.of.archive).exists()


def test_the_transport_key_lies_apart(packed: Path) -> None:
    file = packed.with_name("package.key")
    assert file.stat().st_mode & 0o777 == 0o600
    key = json.loads(file.read_text())["key"]
    for path in packed.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert key.encode() not in data and bytes.fromhex(key) not in data


def test_the_keys_of_the_package_do_not_open_with_the_old_key_service(copy: Copy, packed: Path) -> None:
    for folder in ("table", "secrets"):
        for path in (packed / "keys" / copy.of.tenant / folder).iterdir():
            assert json.loads(path.read_bytes())["kms"]["provider"] == "transport"


def test_gdpr_article_17_what_is_barred_has_no_plain_copy(copy: Copy, tmp_path: Path) -> None:
    from archive_service.model.grounds import EraseGround
    from archive_service.vault.key_layout import LogId
    from retention.erasure import Capture, ask

    entry = next(entry for entry in copy.entries(copy.of.captures) if entry["type"] == "capture")
    core = open_core(Settings(data=copy.data))
    try:
        place = Capture(LogId.parse(entry["log"]), entry["seq"], entry["capture"])
        ask(core.tenant("acme").acts, [place], next(iter(EraseGround)), "GDPR 17", "anne")
    finally:
        core.close()
    said = hand_over(copy, tmp_path)
    assert said.code == 0 and said.answer["counts"]["left_out"] == 1
    assert not (tmp_path / "package" / "mail" / f"{entry['capture']}.eml").exists()


# --- what is refused -----------------------------------------------------------------------------------


def test_tamper_a_flipped_byte_anywhere_is_named_and_refused(packed: Path, tmp_path: Path) -> None:
    """Every file once, by turns at its beginning, middle and end."""
    files = sorted(path for path in packed.rglob("*") if path.is_file() and path.stat().st_size)
    assert len(files) > 100
    for number, path in enumerate(files):
        whole = path.read_bytes()
        place = (0, len(whole) // 2, len(whole) - 1)[number % 3]
        path.chmod(0o600)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        said = load(packed, tmp_path / "new")
        path.write_bytes(whole)
        assert said.code == 1, path
        assert said.answer["error"]["code"] in {"handover.tampered", "handover.key"}
        assert str(path.relative_to(packed)) in said.answer["error"]["message"]
        assert not list((tmp_path / "new" / "ledger").iterdir())
    assert load(packed, tmp_path / "new").code == 0


@pytest.mark.parametrize("what", ["missing", "more", "link"])
def test_tamper_a_file_that_is_missing_or_too_many_is_named(packed: Path, tmp_path: Path, what: str) -> None:
    path = packed / "mail" / "more.eml"
    if what == "missing":
        path = next((packed / "mail").glob("*.eml"))
        path.unlink()
    elif what == "more":
        path.write_bytes(b"x")
    else:
        path.symlink_to("/etc/hostname")
    said = load(packed, tmp_path / "new")
    assert said.code == 1 and path.name in said.answer["error"]["message"]


def test_another_packages_key_is_refused(copy: Copy, packed: Path, tmp_path: Path) -> None:
    packed.rename(tmp_path / "first")
    assert hand_over(copy, tmp_path, "--key-file", tmp_path / "second.key").code == 0
    said = load(tmp_path / "first", tmp_path / "new", tmp_path / "second.key")
    assert said.code == 1 and said.answer["error"]["code"] == "handover.key"


def test_a_key_that_was_changed_is_refused(packed: Path, tmp_path: Path) -> None:
    file = packed.with_name("package.key")
    value = json.loads(file.read_text())
    file.write_text(json.dumps({**value, "key": "00" * 32}))
    said = load(packed, tmp_path / "new")
    assert said.code == 1 and said.answer["error"]["code"] == "handover.tampered"
    file.write_text("{}")
    assert load(packed, tmp_path / "new").code == 2


def test_a_name_that_is_taken_is_refused(packed: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert run("init", "--data", new, "--tenant", "acme").code == 0
    said = load(packed, new)
    assert said.code == 1 and said.answer["error"]["code"] == "handover.clash"


def test_back_into_the_archive_it_comes_from_is_refused(copy: Copy, packed: Path) -> None:
    said = load(packed, copy.data)
    assert said.code == 1 and said.answer["error"]["code"] == "handover.clash"


def test_a_folder_or_key_file_that_exists_is_wrong_use(copy: Copy, packed: Path, tmp_path: Path) -> None:
    assert hand_over(copy, tmp_path).code == 2
    shutil.rmtree(packed)
    assert hand_over(copy, tmp_path).code == 2  # its key file still lies there
    inside = tmp_path / "package" / "key"
    assert hand_over(copy, tmp_path, "--key-file", inside).code == 2


def test_a_running_service_is_said(copy: Copy, tmp_path: Path) -> None:
    service = open_core(Settings(data=copy.data))
    tenant = service.tenant("acme")
    try:
        Unfollowed(service, tenant, tenant.acts.sources()[0]).write([mail(91)])
        said = hand_over(copy, tmp_path)
    finally:
        service.close()
    assert said.code == 1 and said.answer["error"]["code"] == "handover.busy"
    assert not (tmp_path / "package").exists() and not list(tmp_path.glob(".package*"))


def test_tamper_a_damaged_capture_is_named_and_not_packed_as_good(copy: Copy, tmp_path: Path) -> None:
    key = copy.objects(copy.of.captures)[4]
    copy.flip(key)
    said = hand_over(copy, tmp_path)
    assert said.code == 1
    assert key in {problem["name"] for problem in said.answer["problems"]}
    assert not (tmp_path / "package" / "store" / key).exists()
    manifest = json.loads((tmp_path / "package" / "manifest.json").read_bytes())
    assert manifest["damaged"] and manifest["counts"]["damaged"] == 1
