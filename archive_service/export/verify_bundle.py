"""``archive-service verify-bundle``: the checks of ``verify.py``, by other code.

Signatures go through the ledger's ``Verifier``, trees through its ``merkle``, records through the models of
``manifest``, the ZIP through ``bundle_reader``. Nothing is shared with the script, so a fault in one
shows as a disagreement; the tests hold both against one table of tamperings.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from archive_service.export.bundle_reader import Bundle, Flaw, Unreadable, open_bundle
from archive_service.export.manifest import (
    CHECKPOINT_NAME,
    FORMAT,
    LOOKS,
    MANIFEST,
    SCRIPT,
    SEAL,
    Manifest,
    parse_record,
)
from archive_service.export.numbering import capture_file, message_folder, parse_bates
from archive_service.export.verify_proofs import Intact, ProofCheck, check_note
from archive_service.ledger.note import Verifier
from archive_service.model.errors import Invalid, Tampered

_VKEY = re.compile(r"[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+={0,2}\Z")


def verify_bundle(path: Path, pinned: Sequence[str] = ()) -> list[str]:
    """The failures of a bundle (a ZIP or an unpacked folder), a line each: kind, file, reason. Empty: all
    is in order. With ``pinned`` verifier keys only those are trusted. Raises Invalid if one is no key."""
    require_keys(pinned)
    bundle = open_bundle(path)
    return [str(flaw) for flaw in [*bundle.flaws, *_check(bundle, pinned)]]


def require_keys(pinned: Sequence[str]) -> None:
    """Raises Invalid if one is no verifier key."""
    for key in pinned:
        try:
            Verifier([key])
        except Tampered as error:
            raise Invalid("not an Ed25519 verifier key") from error


def _check(bundle: Bundle, pinned: Sequence[str]) -> Iterator[Flaw]:
    if MANIFEST not in bundle.sizes:
        if not any(flaw.where == bundle.path.name for flaw in bundle.flaws):
            yield Flaw("missing", MANIFEST, "not in the bundle")
        return
    try:
        data = bundle.read(MANIFEST)
        manifest = parse_record(Manifest, data)
        log_keys, root_keys = (trusted_keys(keys, pinned) for keys in (manifest.keys.log, manifest.keys.root))
        log, root, either = Verifier(log_keys), Verifier(root_keys), Verifier([*log_keys, *root_keys])
    except Unreadable as error:
        yield Flaw("unreadable", MANIFEST, str(error))
        return
    except (ValueError, Tampered) as error:
        yield Flaw("manifest", MANIFEST, str(error))
        return
    listed = {item.path: item for item in manifest.files}
    yield from _check_seal(bundle, manifest, hashlib.sha256(data).digest(), either)
    intact: Intact = {}
    yield from _check_files(bundle, manifest, intact)
    yield from _check_names(manifest, set(listed))
    yield from _check_numbers(manifest)
    proofs = ProofCheck(bundle, intact, set(listed), log, root)
    for message in manifest.messages:
        yield from proofs.check(message)
    yield from _check_rest(manifest, proofs, set(listed))


def trusted_keys(keys: Sequence[str], pinned: Sequence[str]) -> list[str]:
    """The manifest's keys, all of which must be keys; only the pinned ones if any are."""
    Verifier(keys)
    if not all(_VKEY.match(key) for key in keys):
        raise ValueError("a verifier key of another form")
    return [key for key in keys if not pinned or key in pinned]


def _check_seal(bundle: Bundle, manifest: Manifest, digest: bytes, keys: Verifier) -> Iterator[Flaw]:
    """``manifest.sig``: a note of a checkpoint's form, with exactly one signature line."""
    if SEAL not in bundle.sizes:
        yield Flaw("missing", SEAL, "not in the bundle")
        return
    try:
        note = bundle.read(SEAL).decode("utf-8")
        sealed = check_note(keys, note, f"{FORMAT}/{manifest.export.id}")
        if (sealed.size, sealed.root) != (len(manifest.files), digest):
            yield Flaw("seal", SEAL, "made for another manifest")
        elif note.count("\n") != 5:
            yield Flaw("seal", SEAL, "more than one signature")
    except Unreadable as error:
        yield Flaw("unreadable", SEAL, str(error))
    except (ValueError, Tampered) as error:
        yield Flaw("seal", SEAL, str(error))


def _check_files(bundle: Bundle, manifest: Manifest, intact: Intact) -> Iterator[Flaw]:
    """Compares the files there are with those listed; fills ``intact`` with the good ones' hashes."""
    expected = {item.path: item for item in manifest.files}
    if len(expected) < len(manifest.files) or not expected.keys().isdisjoint((MANIFEST, SEAL)):
        yield Flaw("manifest", MANIFEST, "its list of files is not sound")
    for name in sorted(bundle.sizes.keys() - expected.keys() - {MANIFEST, SEAL}):
        yield Flaw("added", name, "not in the manifest")
    for name in sorted(expected):
        item = expected[name]
        if name not in bundle.sizes:
            yield Flaw("missing", name, "not in the bundle")
        elif bundle.sizes[name] != item.size:
            yield Flaw("size", name, "not as long as the manifest says")
        elif _sha256(bundle, name) == item.sha256:
            intact[name] = item.sha256
        else:
            yield Flaw("changed", name, "SHA-256 differs from the manifest's")


def _sha256(bundle: Bundle, name: str) -> str | None:
    digest = hashlib.sha256()
    try:
        for chunk in bundle.chunks(name):
            digest.update(chunk)
    except Unreadable:
        return None
    return digest.hexdigest()


def _check_names(manifest: Manifest, listed: set[str]) -> Iterator[Flaw]:
    """The set of files follows from the list of messages."""
    named = {SCRIPT, *manifest.reports}
    for message in manifest.messages:
        if message.folder != message_folder(message.bates.first):
            yield Flaw("bates", message.folder, "not the folder of its Bates number")
        captures = (capture_file(number) for number, _ in enumerate(message.captures, 1))
        named.update(f"{message.folder}/{name}" for name in ("message.eml", "proof.json", *captures))
        named.update({f"{message.folder}/{LOOKS}"} & listed)
    for name in sorted(named - listed):
        yield Flaw("unlisted", name, "the manifest names it but has no hash of it")
    for name in sorted(listed - named):
        if not re.match(CHECKPOINT_NAME, name):
            yield Flaw("unexplained", name, "belongs to no message")


def _check_numbers(manifest: Manifest) -> Iterator[Flaw]:
    """Counts add up; Bates numbers run from first to last, page by page."""
    counts, messages = manifest.counts, manifest.messages
    captures = sum(len(message.captures) for message in messages)
    if counts.messages != len(messages) or counts.captures != captures:
        yield Flaw("counts", MANIFEST, "messages or captures do not add up")
    if len({message.id for message in messages}) != len(messages):
        yield Flaw("manifest", MANIFEST, "a message stands twice")
    try:
        prefix = manifest.bates.prefix
        first, last = parse_bates(manifest.bates.first, prefix), parse_bates(manifest.bates.last, prefix)
        spans = [(parse_bates(m.bates.first, prefix), parse_bates(m.bates.last, prefix)) for m in messages]
    except ValueError as error:
        yield Flaw("bates", MANIFEST, str(error))
        return
    starts = [start for start, _ in spans] + [last + 1]
    ends = [end + 1 for _, end in spans]
    whole = first <= last and counts.pages == last - first + 1 and first <= starts[0]
    if not whole or starts[1:] != ends or any(end < start for start, end in spans):
        yield Flaw("bates", MANIFEST, "the Bates numbers do not run from first to last")


def _check_rest(manifest: Manifest, proofs: ProofCheck, listed: set[str]) -> Iterator[Flaw]:
    """What only the proofs tell: attachments add up, no checkpoint lies about unused."""
    if proofs.attachments != manifest.counts.attachments:
        yield Flaw("counts", MANIFEST, "attachments do not add up")
    for name in sorted(listed - proofs.checkpoints.keys()):
        if re.match(CHECKPOINT_NAME, name):
            yield Flaw("unexplained", name, "no capture refers to it")
