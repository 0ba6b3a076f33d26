"""A bundle with what was seen after the receipt: both verifiers hold it against the order log, the report says it."""

import importlib.util
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pypdf import PdfReader

from archive_service.export.bundle import write_bundle
from archive_service.export.evidence import ExportFailed, LookProof, MessageEvidence, RootProof
from archive_service.export.verify_bundle import verify_bundle
from archive_service.ledger.anchors import anchor_of
from archive_service.ledger.evidence import evidence_commit
from archive_service.model.canonical import canonical
from archive_service.model.evidence import (
    Arc,
    Claim,
    DnsAnswer,
    Evidence,
    Look,
    Malware,
    Origin,
    Signature,
    Spf,
)
from tests.unit.bundle_tampering import Draft, entries_of, zip_of
from tests.unit.export_fixtures import TIME, Archive, Log, request, salt_of, small_archive

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the openssl command is not installed"
)
SCRIPT = Path(str(files("archive_service.export.verify_script"))) / "verify.py"
LOOKS = "messages/LEF0000004/evidence.json"


def malware(capture: str, **more: Any) -> Evidence:
    found = Malware(result="found", size=40, name="Win.Test.EICAR")
    told = {
        "capture": capture,
        "look": Look.MALWARE,
        "at": TIME,
        "program": "ClamAV 1.4.3/1/x",
        "malware": found,
    }
    return Evidence(**{**told, **more})


def origin(capture: str) -> Evidence:
    key = "s1._domainkey.example.org"
    return Evidence(
        capture=capture,
        look=Look.ORIGIN,
        at=TIME,
        program="dkimpy 1.1.8, dnspython 2.9",
        origin=Origin(
            line_ends="made_crlf",
            from_domain="example.org",
            dkim=(
                Signature(
                    result="pass", domain="example.org", selector="s1", aligned="same", key=key, body_limit=9
                ),
            ),
            more_signatures=1,
            arc=Arc(result="none"),
            spf=Spf(domain="example.org", known_from="return-path", record="example.org"),
            claims=(Claim(field="received-spf", value="pass (mx.example.org)"),),
        ),
        dns=(
            DnsAnswer(
                name=key,
                rcode="NOERROR",
                records=(f'{key}. 300 IN TXT "v=DKIM1; p=MIIBIjANBgkqhkiG9w0B"',),
                ttl=300,
                resolver="192.0.2.53:53",
                at=TIME,
            ),
        ),
    )


def with_looks(
    archive: Archive,
    messages: list[MessageEvidence],
    looks: list[tuple[int, int, Evidence]],
    *,
    order: str = "order-1",
    of: Callable[[dict[str, Any]], dict[str, Any]] = lambda of: of,
) -> list[MessageEvidence]:
    """The messages with these looks at capture ``number`` of message ``index``, as entries under one checkpoint."""
    log = Log(f"{archive.log.name.partition('/')[0]}/{order}")
    log.append("claim")
    places = []
    for index, number, evidence in looks:
        row = messages[index].captures[number].row
        salt = salt_of(f"look {index} {number} {evidence.look}")
        commit = evidence_commit(salt, canonical(evidence.plain()))
        place = of({"log": row.log, "seq": row.seq})
        seq = log.append("evidence", of=place, capture=evidence.capture, commit=commit, payload={"name": "x"})
        places.append((index, number, evidence, salt, seq))
    note = archive.log_key.sign(log.name, len(log.lines), log.root()).note
    anchor_salt = salt_of("order anchor")
    at = archive.root_log.append("anchors", anchors=[anchor_of(anchor_salt, note)])
    size = len(archive.root_log.lines)
    root_note = archive.root_key.sign(archive.root_log.name, size, archive.root_log.root()).note
    root = RootProof(anchor_salt, archive.root_log.lines[at], at, archive.root_log.path(at), size, root_note)
    made = list(messages)
    for index, number, evidence, salt, seq in places:
        line, path = log.lines[seq], log.path(seq)
        proof = LookProof(evidence, salt, line, log.name, seq, path, len(log.lines), note, root)
        captures = list(made[index].captures)
        captures[number] = replace(captures[number], looks=(*captures[number].looks, proof))
        made[index] = replace(made[index], captures=tuple(captures))
    return made


def honest_looks() -> list[tuple[int, int, Evidence]]:
    return [(0, 0, malware("m1-0")), (0, 0, origin("m1-0")), (1, 1, origin("m2-1"))]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bundle_evidence_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    honest, shared = module.OpenSSL._run, {}

    def run(self: Any, *key: bytes) -> bool:
        if key not in shared:
            shared[key] = honest(self, *key)
        return bool(shared[key])

    module.OpenSSL._run = run
    return module


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("bundle"), "en")


def bundle(folder: Path, lang: str) -> Path:
    archive = small_archive()
    messages = with_looks(archive, archive.evidence(), honest_looks())
    target = folder / f"{lang}.zip"
    write_bundle(request(lang=lang), messages, archive.keys, archive.root_key.sign_text, target)
    return target


@pytest.fixture
def draft(honest: Path) -> Draft:
    with zipfile.ZipFile(honest) as zipped:
        return Draft({name: zipped.read(name) for name in zipped.namelist()}, small_archive().root_key)


def found_by_both(script: ModuleType, path: Path) -> set[str]:
    ours = {line.split(":")[0] for line in verify_bundle(path)}
    assert ours == {line.split(":")[0] for line in script.check(path, [], lambda line: None)}
    return ours


def test_an_honest_bundle_with_evidence_verifies(honest: Path, script: ModuleType, draft: Draft) -> None:
    assert found_by_both(script, honest) == set()
    looks = draft.json(LOOKS)["looks"]
    assert [json.loads(look["evidence"])["look"] for look in looks] == ["malware", "origin"]
    assert "messages/LEF0000008/evidence.json" not in draft.members
    manifest = draft.json("manifest.json")
    assert sum(item["path"].endswith("evidence.json") for item in manifest["files"]) == 2


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ("Seen after the receipt", "Malware was found in this mail: Win.Test.EICAR", "not validated")),
        ("fr", ("Constaté après la réception", "Logiciel malveillant trouvé", "non validé")),
    ],
)
def test_the_report_says_what_was_seen(lang: str, words: tuple[str, ...], tmp_path: Path) -> None:
    with zipfile.ZipFile(bundle(tmp_path, lang)) as zipped:
        zipped.extract("report.pdf", tmp_path)
    text = " ".join(page.extract_text() for page in PdfReader(tmp_path / "report.pdf").pages)
    flat = " ".join(text.split())
    for word in (*words, "ClamAV 1.4.3/1/x", "d=example.org s=s1", "192.0.2.53:53", "received-spf: pass"):
        assert word in flat, word
    assert "v=DKIM1; p=MIIBIjANBgkqhkiG9w0B" in flat.replace("- ", "")


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(leaf for key, item in items for leaf in _leaves(item, (*path, key)))]


def _get(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _other(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1] != "0" else "1")
    return []


def test_tamper_each_field_of_the_evidence(script: ModuleType, draft: Draft, tmp_path: Path) -> None:
    """By an insider, who signs the manifest anew."""
    whole, original = draft.json(LOOKS), draft.members[LOOKS]
    for path in _leaves(whole):
        if not path:
            continue
        value = json.loads(json.dumps(whole))
        _get(value, path[:-1])[path[-1]] = _other(_get(value, path))
        draft.put(LOOKS, value)
        draft.reseal()
        (tmp_path / "b.zip").write_bytes(zip_of(entries_of(draft.members)))
        assert found_by_both(script, tmp_path / "b.zip"), path
        draft.members[LOOKS] = original


def _said_otherwise(draft: Draft) -> None:
    """Clean after all."""

    def change(value: Any) -> None:
        said = json.loads(value["looks"][0]["evidence"])
        said["malware"] = {"result": "clean", "size": 40}
        value["looks"][0]["evidence"] = canonical(said).decode()

    draft.edit(LOOKS, change)


def _twice(draft: Draft) -> None:
    draft.edit(LOOKS, lambda value: value["looks"].append(value["looks"][0]))


def _of_another_message(draft: Draft) -> None:
    draft.members[LOOKS] = draft.members["messages/LEF0000006/evidence.json"]


def _of_no_look(draft: Draft) -> None:
    draft.edit(LOOKS, lambda value: value["looks"].clear())


def _moved(draft: Draft) -> None:
    """A look at a capture of another message."""
    other = draft.json("messages/LEF0000006/evidence.json")["looks"][0]
    draft.edit(LOOKS, lambda value: value["looks"].append(other))


@pytest.mark.parametrize("change", [_said_otherwise, _twice, _of_another_message, _of_no_look, _moved])
def test_tamper_insider_with_evidence(
    change: Callable[[Draft], None], script: ModuleType, draft: Draft, tmp_path: Path
) -> None:
    change(draft)
    draft.reseal()
    (tmp_path / "b.zip").write_bytes(zip_of(entries_of(draft.members)))
    assert f"evidence {LOOKS}" in found_by_both(script, tmp_path / "b.zip")


@pytest.mark.parametrize(
    "more",
    [{"order": "order-2"}, {"of": lambda of: {**of, "seq": of["seq"] + 1}}],
    ids=["another_log", "another_capture"],
)
def test_tamper_evidence_of_another_place(more: dict[str, Any], tmp_path: Path) -> None:
    """Signed logs that do not fit together never become a bundle."""
    archive = small_archive()
    messages = with_looks(archive, archive.evidence(), [(0, 0, malware("m1-0"))], **more)
    target = tmp_path / "b.zip"
    with pytest.raises(ExportFailed, match=r"does not verify: (evidence|tenant)"):
        write_bundle(request(), messages, archive.keys, archive.root_key.sign_text, target)
    assert not target.exists()
