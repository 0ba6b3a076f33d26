"""``verify-bundle`` of a certificate or a yearly pack in JSON: what it says is what was signed, and the entries that it
rests on stand in the logs that it names (FORMAT.md 10)."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from archive_service.export.bundle_reader import Flaw
from archive_service.export.manifest import Hex32, Keys, Whole
from archive_service.export.verify_bundle import require_keys, trusted_keys
from archive_service.export.verify_proofs import Fault, check_note
from archive_service.ledger.anchors import anchor_of
from archive_service.ledger.merkle import leaf_hash, verify_inclusion
from archive_service.ledger.note import Verifier
from archive_service.model.canonical import canonical, parse_canonical
from archive_service.model.errors import Invalid, Tampered
from archive_service.vault.key_layout import LogId

_LARGEST = 64 << 20  # bytes


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Path(_Record):
    index: Whole
    tree_size: Whole
    hashes: list[str]


class _Included(_Record):
    """An entry, and its path to a signed checkpoint of its log."""

    log: str
    entry: str
    inclusion: _Path
    checkpoint: str


class _Root(_Included):
    """The root log's entry, in which ``anchor`` stands for the checkpoint."""

    anchor: str
    salt: Hex32


class _Proof(_Included):
    """``act`` or ``entry_of``: which word the archive has for it; its payload stays sealed."""

    act: str | None = None
    entry_of: str | None = None
    root: _Root


class _Whole(_Record):
    certificate: dict[str, Any] | None = None
    pack: dict[str, Any] | None = None
    note: str
    keys: Keys
    proofs: list[_Proof]


def verify_certificate(path: Path, pinned: Sequence[str] = ()) -> list[str]:
    """The failures of a certificate, a line each: kind, place, reason. Empty: all is in order. With ``pinned`` verifier
    keys only those are trusted. What sealed acts say is the archive's word, for which its signature stands; that they
    stand where and when it says is proven. Raises Invalid if a pinned key is none."""
    require_keys(pinned)
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError("too large for a certificate")
        whole = _Whole.model_validate(
            json.loads(path.read_bytes(), object_pairs_hook=_once, parse_float=_none)
        )
        log_keys, root_keys = (trusted_keys(keys, pinned) for keys in (whole.keys.log, whole.keys.root))
        log, root = Verifier(log_keys), Verifier(root_keys)
    except (ValueError, RecursionError, Tampered) as error:
        return [str(Flaw("form", path.name, _said(error)))]
    return [str(flaw) for flaw in _check(whole, log, root)]


def _check(whole: _Whole, log: Verifier, root: Verifier) -> Iterator[Flaw]:
    said = whole.pack if whole.certificate is None else whole.certificate
    if said is None or (whole.pack is not None and whole.certificate is not None):
        yield Flaw("form", "certificate", "neither a certificate nor a yearly pack")
        return
    try:
        _check_note(whole, said, root)
    except Fault as fault:
        yield Flaw(fault.kind, "note", str(fault))
    before: set[tuple[str, int]] = set()
    for number, proof in enumerate(whole.proofs):
        try:
            _check_proof(proof, said, log, root)
            place = proof.log, proof.inclusion.index
            if place in before:
                raise Fault("proof", "the same entry twice")
            before.add(place)
        except Fault as fault:
            yield Flaw(fault.kind, f"proofs[{number}]", str(fault))
    yield from _check_rest(whole, said)


def _check_note(whole: _Whole, said: dict[str, Any], keys: Verifier) -> None:
    """Signed over this statement, under the origin and the number that follow from it."""
    origin, number = _origin(whole, said)
    try:
        note = check_note(keys, whole.note, origin)
        digest = hashlib.sha256(canonical(said)).digest()
    except (ValueError, Tampered) as error:
        raise Fault("note", str(error)) from error
    if (note.size, note.root) != (number, digest):
        raise Fault("note", "made for another statement")


def _origin(whole: _Whole, said: dict[str, Any]) -> tuple[str, int]:
    if whole.pack is not None:
        rights = said.get("rights")
        held = rights.get("in_force") if isinstance(rights, dict) else None
        number = len(held) if isinstance(held, list) else -1
        return f"archive-service/yearly-pack/v1/{said.get('year')}", number
    form = next((name for name in ("event", "order", "disposition") if name in said), "")
    places = said.get("places")
    number = len(whole.proofs) if form == "event" else len(places) if isinstance(places, list) else -1
    return f"archive-service/{form}/v1/{said.get(form)}", number


def _check_proof(proof: _Proof, said: dict[str, Any], log: Verifier, root: Verifier) -> None:
    """The entry stands in a log of the owner, its checkpoint is anchored, and the anchor stands in the root log."""
    _check_included(proof, log, "proof")
    try:
        owner = LogId.parse(proof.log).owner
    except Invalid as error:
        raise Fault("proof", "an entry of no log") from error
    if owner != said.get("owner"):
        raise Fault("proof", "an entry of another owner's log")
    above = proof.root
    anchors = _check_included(above, root, "anchor").get("anchors")
    anchor = anchor_of(bytes.fromhex(above.salt), proof.checkpoint)
    if above.log.rpartition("/")[2] != "root" or anchor != above.anchor:
        raise Fault("anchor", "it stands for another checkpoint")
    if not isinstance(anchors, list) or anchor not in anchors:
        raise Fault("anchor", "the checkpoint is not anchored in this entry")


def _check_included(found: _Included, keys: Verifier, kind: str) -> dict[str, Any]:
    """The entry, which stands under the signed checkpoint. Raises Fault."""
    line = found.entry.encode()
    try:
        point = check_note(keys, found.checkpoint, found.log)
        path = [base64.b64decode(node, validate=True) for node in found.inclusion.hashes]
        entry = parse_canonical(line)
    except (ValueError, RecursionError, Tampered) as error:
        raise Fault(kind, _said(error)) from error
    at = found.inclusion
    if not isinstance(entry, dict) or (entry.get("log"), entry.get("seq")) != (found.log, at.index):
        raise Fault(kind, "an entry of another place")
    if point.size != at.tree_size or not verify_inclusion(
        leaf_hash(line), at.index, point.size, path, point.root
    ):
        raise Fault(kind, "it does not stand under this checkpoint")
    result: dict[str, Any] = entry
    return result


def _check_rest(whole: _Whole, said: dict[str, Any]) -> Iterator[Flaw]:
    """What must agree within the statement, and between it and the entries."""
    if whole.certificate is not None and not whole.proofs:
        yield Flaw("proof", "proofs", "a certificate that rests on no entry")
    if "places" in said and said.get("captures") != len(said["places"]):
        yield Flaw("count", "places", "not as many as it counts")
    if whole.certificate is not None and "event" in said and whole.proofs:
        last = whole.proofs[-1]
        try:
            entry = parse_canonical(last.entry.encode())
        except (ValueError, RecursionError):
            return  # named already
        own = (said.get("log"), said.get("seq"), said.get("time"), said.get("entry_sha256"))
        digest = hashlib.sha256(last.entry.encode()).hexdigest()
        if not isinstance(entry, dict) or own != (last.log, entry.get("seq"), entry.get("time"), digest):
            yield Flaw("event", f"proofs[{len(whole.proofs) - 1}]", "not the entry that it is of")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A member that is there twice would be read one way here and another way elsewhere."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member that is there twice")
    return found


def _none(text: str) -> float:
    raise ValueError("a number that is no whole one")


def _said(error: Exception) -> str:
    """Without what it holds: a validation error would print half of the file."""
    return str(error) if isinstance(error, Tampered) else "not of the form of a certificate"
