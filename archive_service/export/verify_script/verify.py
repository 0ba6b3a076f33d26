#!/usr/bin/env python3
"""Checks an evidence bundle: every byte, every proof, every signature. Needs Python 3.8 and OpenSSL 3.

    python3 verify.py                      checks the folder this script lies in
    python3 verify.py PATH                 checks another unpacked folder, or a bundle's ZIP
    python3 verify.py --key VKEY ... PATH  trusts only these keys (as given to you on paper)

Prints one line a failure (kind, file or capture, reason). Exit code 0: all is in order; 1: it is not, or
it could not be checked; 2: wrong use. Only the standard library and the openssl command are used.

What is checked, in this order:
 1. the ZIP holds plain files only, each once, and no byte beside them;
 2. manifest.json is canonical JSON (RFC 8785) and signed in manifest.sig (C2SP signed-note, Ed25519);
 3. no file is missing, added, or differs in size or SHA-256 from the manifest;
 4. each capture: its bytes and salt open the commit of its log entry; the entry stands in the log
    (RFC 6962 inclusion proof) under a signed checkpoint; the checkpoint is anchored in the root log,
    itself signed; message.eml is exactly the stated slice of the first capture;
 5. where a message has evidence.json: what it says of a capture (malware, signatures, answers of the DNS) opens the
    commit of an entry of the tenant's order log, which stands under a checkpoint as above.
"""
# One file, so that it can be read, copied and run anywhere; old spellings, so that Python 3.8 takes it.
# ruff: noqa: B905, E402, T201, UP006, UP007, UP035, UP045

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
# A file planted beside this script must not be imported in place of the standard library.
sys.path[:] = [p for p in sys.path if os.path.abspath(p or os.curdir) != _HERE]  # noqa: PTH100

import base64
import hashlib
import json
import re
import shutil
import stat
import struct
import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple, Union

MANIFEST, SEAL = "manifest.json", "manifest.sig"
FORMAT = "archive-service/bundle/v1"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,3}\Z")
CHECKPOINT_FILE = re.compile(r"checkpoints/[0-9]{1,9}\.json\Z")
REPORT_FILE = re.compile(r"report(-[0-9]{1,4})?\.pdf\Z")
CAPTURE_FILE = re.compile(r"capture-[0-9]{1,9}\.eml\Z")
LOG = re.compile(r"[0-9a-f]{20}/capture-[1-9][0-9]{0,5}\Z")
LOOKS = "evidence.json"
HEX32 = re.compile(r"[0-9a-f]{64}\Z")
CHUNK = 1 << 20
LIMITS = {MANIFEST: 512 << 20, SEAL: 64 << 10}
JSON_LIMIT = 64 << 20
LARGE, NARROW = 0xFFFFFFFF, (1 << 31) - 1  # stands for a ZIP64 value; the largest value without one
MAY_BE_WIDE = 1 << 30  # a local header may have a ZIP64 field from here on
VERSION, VERSION64 = 20, 45
DER = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519 (RFC 8410)
READ_ERRORS = (OSError, zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, struct.error)


class Wrong(Exception):
    """Something does not hold: its kind and the reason."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Findings:
    """The failures, in the order found."""

    def __init__(self) -> None:
        self.lines: List[str] = []

    def add(self, kind: str, where: str, reason: object) -> None:
        self.lines.append(f"{kind} {json.dumps(where)[1:-1][:300]}: {str(reason)[:200]}")


# ---------------------------------------------------------------- folder and ZIP


class Folder:
    """An unpacked bundle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: Dict[str, int] = {}

    def list(self, findings: Findings) -> None:
        def unreadable(error: OSError) -> None:
            findings.add("unreadable", str(error.filename), "a folder that cannot be listed")

        for base, folders, files in os.walk(str(self.path), onerror=unreadable):
            for full in [Path(base, name) for name in sorted(folders + files)]:
                shown, status = full.relative_to(self.path).as_posix(), full.lstat()
                if stat.S_ISDIR(status.st_mode):
                    continue
                if not stat.S_ISREG(status.st_mode):
                    findings.add("not-a-file", shown, "a link or special file")
                elif not NAME.match(shown):
                    findings.add("unsafe-name", shown, "not a name that the archive writes")
                else:
                    self.sizes[shown] = status.st_size

    def open(self, name: str) -> IO[bytes]:
        return self.path.joinpath(*name.split("/")).open("rb")

    def close(self) -> None:
        pass


class Zip:
    """A bundle as handed over: stored members only, back to back; what could hide anything is a finding."""

    def __init__(self, path: Path) -> None:
        self.path, self.zip = path, zipfile.ZipFile(str(path))
        self.sizes: Dict[str, int] = {}
        self.infos: Dict[str, zipfile.ZipInfo] = {}

    def list(self, findings: Findings) -> None:
        for info in self.zip.infolist():
            name = info.orig_filename
            if not NAME.match(name):
                findings.add("unsafe-name", name, "not a name that the archive writes")
            elif name in self.infos:
                findings.add("duplicate", name, "the ZIP holds this name twice")
            elif not stat.S_ISREG(info.external_attr >> 16):
                findings.add("not-a-file", name, "a link or special file")
            elif info.flag_bits or info.compress_type or info.compress_size != info.file_size:
                findings.add("unreadable", name, "encrypted, streamed or compressed")
            else:
                self.sizes[name], self.infos[name] = info.file_size, info
        with self.path.open("rb") as file:
            flaw = self._structure(file)
        if flaw:
            findings.add("zip", *flaw)

    def _structure(self, file: IO[bytes]) -> Optional[Tuple[str, str]]:
        """Members must follow each other without a gap, from byte 0 to the directory at the end, and their
        headers be, byte for byte, what the archive writes: so no field can carry anything of its own."""
        infos, position, at = self.zip.infolist(), 0, 0
        length = file.seek(0, os.SEEK_END)
        file.seek(self.zip.start_dir)
        directory = file.read(length - self.zip.start_dir)
        for info in infos:
            if info.header_offset != position:
                return info.orig_filename, "bytes before a member"
            name, moment = info.orig_filename.encode("utf-8", "replace"), dos_moment(infos[0])
            file.seek(position)
            head = file.read(30 + len(name) + 20)
            local = local_header(info, name, moment, False)
            if not head.startswith(local) and info.file_size >= MAY_BE_WIDE:
                local = local_header(info, name, moment, True)
            entry = directory_entry(info, name, moment, local[4] == VERSION64)
            if not head.startswith(local) or directory[at : at + len(entry)] != entry:
                return (
                    info.orig_filename,
                    "its headers differ, or have fields that the archive does not write so",
                )
            position += len(local) + info.compress_size
            at += len(entry)
        if self.zip.start_dir != position or directory[at:] != end_records(len(infos), at, position):
            return "end of file", "bytes between, in or after the end records"
        return None

    def open(self, name: str) -> IO[bytes]:
        return self.zip.open(self.infos[name])

    def close(self) -> None:
        self.zip.close()


# The headers that the archive writes (APPNOTE.TXT 6.3.9 sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16, 4.5.3).


def dos_moment(info: zipfile.ZipInfo) -> Tuple[int, int]:
    """Time and date as a header has them; all members have the first one's."""
    year, month, day, hour, minute, second = info.date_time
    return hour << 11 | minute << 5 | second // 2, year - 1980 << 9 | month << 5 | day


def zip64_field(values: Sequence[int]) -> bytes:
    """The extra field for values that are too large for the header; nothing for none."""
    return struct.pack(f"<2H{len(values)}Q", 1, 8 * len(values), *values) if values else b""


def local_header(info: zipfile.ZipInfo, name: bytes, moment: Tuple[int, int], wide: bool) -> bytes:
    """What stands before a member's bytes; ``wide``: its sizes are in a ZIP64 field."""
    extra = zip64_field([info.file_size, info.compress_size] if wide else [])
    sizes = (LARGE, LARGE) if wide else (min(info.compress_size, LARGE), min(info.file_size, LARGE))
    version = VERSION64 if wide else VERSION
    head = (b"PK\x03\x04", version, 0, 0, *moment, info.CRC, *sizes, len(name), len(extra))
    return struct.pack("<4s5H3L2H", *head) + name + extra


def directory_entry(info: zipfile.ZipInfo, name: bytes, moment: Tuple[int, int], wide: bool) -> bytes:
    """What the directory has of a member; ``wide``: its local header has a ZIP64 field."""
    packed, size, offset, values = info.compress_size, info.file_size, info.header_offset, []
    if max(size, packed) > NARROW:
        values, packed, size = [size, packed], LARGE, LARGE
    if offset > NARROW:
        values, offset = [*values, offset], LARGE
    version, extra = VERSION64 if wide or values else VERSION, zip64_field(values)
    head = (b"PK\x01\x02", 3 << 8 | version, version, 0, 0, *moment, info.CRC, packed, size)
    rest = (len(name), len(extra), 0, 0, 0, 0o100644 << 16, offset)
    return struct.pack("<4s6H3L5H2L", *head, *rest) + name + extra


def end_records(count: int, size: int, start: int) -> bytes:
    """What closes the ZIP behind a directory of ``size`` bytes at ``start``."""
    records = b""
    if count > 0xFFFF or max(size, start) > NARROW:
        records = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
        records += struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
    few, size, start = min(count, 0xFFFF), min(size, LARGE), min(start, LARGE)
    return records + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, few, few, size, start, 0)


Box = Union[Folder, Zip]


def read_small(box: Box, name: str) -> bytes:
    """A file's bytes, up to its limit."""
    if name not in box.sizes:
        raise Wrong("missing", "not in the bundle")
    limit = LIMITS.get(name, JSON_LIMIT)
    try:
        with box.open(name) as file:
            data = file.read(limit + 1)
    except READ_ERRORS:
        raise Wrong("unreadable", "cannot be read") from None
    if len(data) > limit:
        raise Wrong("unreadable", "larger than any that the archive writes")
    return data


# ---------------------------------------------------------------- canonical JSON, shapes


def parse_json(data: bytes) -> Any:
    """The value of canonical JSON bytes (RFC 8785; no floats). ValueError otherwise."""

    def refuse(_: str) -> None:
        raise ValueError("a number that is not an integer")

    try:
        value = json.loads(data.decode("utf-8"), parse_float=refuse, parse_constant=refuse)
        again = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if again.encode("utf-8") != data:
            raise ValueError("not canonical JSON")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value


def shape(value: Any, form: Any, path: str = "it") -> None:
    """Raises ValueError unless ``value`` has the form: a type, a pattern, a dict of exactly these keys
    (a key ending in ``?`` may be null), or a list of one form."""
    if isinstance(form, dict):
        if not isinstance(value, dict) or set(value) != {key.rstrip("?") for key in form}:
            raise ValueError(f"{path} has not the expected fields")
        for key, inner in form.items():
            name = key.rstrip("?")
            if not (key.endswith("?") and value[name] is None):
                shape(value[name], inner, f"{path}.{name}")
    elif isinstance(form, list):
        if not isinstance(value, list):
            raise ValueError(f"{path} is not a list")  # noqa: TRY004
        for item in value:
            shape(item, form[0], path + "[]")
    elif form is int:
        if type(value) is not int or not 0 <= value < 2**53:
            raise ValueError(f"{path} is not a whole number")
    elif not isinstance(value, str) or (form is not str and not form.match(value)):
        raise ValueError(f"{path} is not text of the expected form")


def has(value: Any, **expected: Any) -> bool:
    """Whether ``value`` is a dict with these values, of just these types (1 is not true)."""
    if not isinstance(value, dict):
        return False
    return all(type(value.get(k)) is type(v) and value[k] == v for k, v in expected.items())


MANIFEST_FORM = {
    "format": re.compile(re.escape(FORMAT) + r"\Z"),
    "export": {
        "id": re.compile(r"[A-Za-z0-9._-]{1,100}\Z"),
        "tenant": str,
        "matter?": str,
        "purpose?": str,
        "requested_by": str,
        "requested_at": str,
        "query?": str,
        "ids?": [str],
    },
    "bates": {"prefix": str, "first": str, "last": str},
    "counts": {"messages": int, "captures": int, "attachments": int, "pages": int},
    "keys": {"log": [str], "root": [str]},
    "reports": [REPORT_FILE],
    "messages": [{"id": str, "folder": NAME, "bates": {"first": str, "last": str}, "captures": [str]}],
    "files": [{"path": NAME, "size": int, "sha256": HEX32}],
}
PROOF_FORM = {
    "version": int,
    "message": str,
    "attachments": [{"name?": str, "type": str, "size": int, "sha256": HEX32}],
    "captures": [
        {
            "id": str,
            "file": CAPTURE_FILE,
            "inner_start": int,
            "inner_end": int,
            "salt": HEX32,
            "record_commit": HEX32,
            "entry": str,
            "index": int,
            "inclusion": [HEX32],
            "checkpoint": CHECKPOINT_FILE,
        }
    ],
}
LOOKS_FORM = {
    "version": int,
    "message": str,
    "looks": [
        {
            "capture": str,
            "evidence": str,
            "salt": HEX32,
            "entry": str,
            "index": int,
            "inclusion": [HEX32],
            "checkpoint": CHECKPOINT_FILE,
        }
    ],
}
CHECKPOINT_FORM = {
    "version": int,
    "note": str,
    "root": {"salt": HEX32, "entry": str, "index": int, "inclusion": [HEX32], "note": str},
}


# ---------------------------------------------------------------- keys and notes


def decode64(text: str) -> bytes:
    """The bytes of strict base64; none if it is not."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        return b""
    return data if base64.b64encode(data).decode() == text else b""


class Key:
    """A C2SP verifier key: ``name+hash+base64(0x01 || public key)``. ValueError if it is none."""

    def __init__(self, text: str) -> None:
        parts = text.split("+", 2)
        if len(parts) != 3 or not re.match(r"[^\s+]+\Z", parts[0]):
            raise ValueError("not a verifier key")
        data = decode64(parts[2])
        if len(data) != 33 or data[0] != 1:
            raise ValueError("not an Ed25519 verifier key")
        self.text, self.name, self.public = text, parts[0], data[1:]
        self.hash = hashlib.sha256(parts[0].encode() + b"\n" + data).digest()[:4]
        if parts[1] != self.hash.hex():
            raise ValueError("a verifier key whose hash does not match")

    def fingerprint(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


class OpenSSL:
    """Ed25519 signatures, checked by the openssl command; which is first tried on RFC 8032's test 2."""

    PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    SIGNATURE = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00"
    )

    def __init__(self, bundle: Path) -> None:
        self.seen: Dict[Tuple[bytes, bytes, bytes], bool] = {}
        command = shutil.which("openssl")
        if command is None:
            raise Wrong("openssl", "the openssl command was not found, so no signature can be checked")
        self.command = command
        if bundle.resolve() in Path(command).resolve().parents:
            raise Wrong("openssl", "the openssl command found lies inside the bundle")
        good = self.SIGNATURE
        bad = bytes([good[0] ^ 1]) + good[1:]
        if not self.verify(self.PUBLIC, good, b"\x72") or self.verify(self.PUBLIC, bad, b"\x72"):
            raise Wrong("openssl", "this openssl cannot check Ed25519 signatures; OpenSSL 3.0 is needed")

    def verify(self, public: bytes, signature: bytes, message: bytes) -> bool:
        key = (public, signature, message)
        if key not in self.seen:
            self.seen[key] = self._run(*key)
        return self.seen[key]

    def _run(self, public: bytes, signature: bytes, message: bytes) -> bool:
        command = [self.command, "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER"]
        try:
            with tempfile.TemporaryDirectory() as folder:
                for option, data in (("inkey", DER + public), ("sigfile", signature), ("in", message)):
                    path = Path(folder, option)
                    path.write_bytes(data)
                    command += ["-" + option, str(path)]
                quiet = subprocess.DEVNULL
                return subprocess.call(command, stdin=quiet, stdout=quiet, stderr=quiet) == 0  # noqa: S603
        except OSError:
            raise Wrong("openssl", "the openssl command could not be run") from None


class Unchecked:
    """Stands in when openssl is not to be had, which is a failure already: all else is still checked."""

    def verify(self, public: bytes, signature: bytes, message: bytes) -> bool:
        return True


Signatures = Union[OpenSSL, Unchecked]


def open_note(note: str, keys: Sequence[Key], openssl: Signatures, kind: str) -> str:
    """The text of a signed note, once a trusted key's signature on it holds (C2SP signed-note)."""
    text, mark, tail = note.partition("\n\n")
    if not mark or not tail.endswith("\n") or re.search("[\x00-\x09\x0b-\x1f\x7f]", note):
        raise Wrong(kind, "not a signed note")
    text, held = text + "\n", False
    for line in tail[:-1].split("\n"):
        match = re.match("\u2014 ([^\\s+]+) ([A-Za-z0-9+/]+={0,2})\\Z", line)
        name, blob = (match.group(1), decode64(match.group(2))) if match else ("", b"")
        if len(blob) < 5:
            raise Wrong(kind, "a malformed signature line")
        for key in keys:
            if (key.name, key.hash) == (name, blob[:4]):
                if len(blob) != 68 or not openssl.verify(key.public, blob[4:], text.encode("utf-8")):
                    raise Wrong(kind, "the signature does not hold")
                held = True
    if not held:
        raise Wrong(kind, "not signed by a trusted key")
    return text


def open_checkpoint(
    note: str, origin: str, keys: Sequence[Key], openssl: Signatures, kind: str
) -> Tuple[int, bytes]:
    """(size, root hash) that a signed checkpoint of ``origin`` states (C2SP tlog-checkpoint)."""
    lines = open_note(note, keys, openssl, kind).split("\n")
    if len(lines) != 4 or lines[3] or not re.match(r"(0|[1-9][0-9]{0,15})\Z", lines[1]):
        raise Wrong(kind, "not a checkpoint")
    if lines[0] != origin:
        raise Wrong(kind, "a checkpoint of another origin")
    root = decode64(lines[2])
    if len(root) != 32:
        raise Wrong(kind, "a checkpoint without root hash")
    return int(lines[1]), root


# ---------------------------------------------------------------- Merkle tree


def tree_root(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> Optional[bytes]:
    """The root that an inclusion path leads to (RFC 6962 section 2.1.1), or None."""
    if not 0 <= index < size:
        return None
    if size == 1 or not path:
        return leaf if size == 1 and not path else None
    split = 1 << ((size - 1).bit_length() - 1)  # the largest power of two below size
    on_left = index < split
    inner = tree_root(
        index if on_left else index - split, split if on_left else size - split, leaf, path[:-1]
    )
    if inner is None:
        return None
    return hashlib.sha256(b"\x01" + (inner + path[-1] if on_left else path[-1] + inner)).digest()


def included(entry: str, index: int, path: Sequence[str], size: int, root: bytes) -> bool:
    """Whether the entry is the leaf at ``index`` of the tree of ``size`` entries with this root."""
    leaf = hashlib.sha256(b"\x00" + entry.encode("utf-8")).digest()
    return tree_root(index, size, leaf, [bytes.fromhex(node) for node in path]) == root


# ---------------------------------------------------------------- the checks


class Checker:
    """Runs all checks over one bundle; ``findings`` stays empty when all is in order."""

    def __init__(self, box: Box, findings: Findings, openssl: Signatures, pinned: Sequence[str]) -> None:
        self.box, self.findings, self.openssl, self.pinned = box, findings, openssl, pinned
        self.manifest: Any = None
        self.digest = b""
        self.keys: Dict[str, List[Key]] = {}
        self.listed: Dict[str, Any] = {}
        self.intact: Set[str] = set()  # files that are as the manifest says
        self.notes: Dict[str, Optional[Tuple[str, int, bytes]]] = {}  # by file: log, size, root hash
        self.tenant = ""
        self.seen: Set[Any] = set()
        self.attachments = 0

    def run(self) -> None:
        try:
            data = read_small(self.box, MANIFEST)
            manifest = parse_json(data)
            shape(manifest, MANIFEST_FORM)
            self.keys = {role: [Key(text) for text in manifest["keys"][role]] for role in ("log", "root")}
        except Wrong as error:
            return self.findings.add(error.kind, MANIFEST, error)
        except ValueError as error:
            return self.findings.add("manifest", MANIFEST, error)
        if self.pinned:
            self.keys = {r: [k for k in keys if k.text in self.pinned] for r, keys in self.keys.items()}
        self.manifest, self.digest = manifest, hashlib.sha256(data).digest()
        self.listed = {item["path"]: item for item in manifest["files"]}
        self.check_seal()
        self.check_files()
        self.check_names()
        self.check_numbers()
        for message in manifest["messages"]:
            self.check_message(message)
        self.check_rest()
        return None

    def check_seal(self) -> None:
        """manifest.sig has the form of a checkpoint, with one signature: its origin names the export, its
        size is the number of files, its root hash the SHA-256 of manifest.json."""
        try:
            note = read_small(self.box, SEAL).decode("utf-8")
            origin = f"{FORMAT}/{self.manifest['export']['id']}"
            keys = self.keys["log"] + self.keys["root"]
            if open_checkpoint(note, origin, keys, self.openssl, "seal") != (len(self.listed), self.digest):
                raise Wrong("seal", "made for another manifest")
            if note.count("\n") != 5:
                raise Wrong("seal", "more than one signature")
        except Wrong as error:
            self.findings.add(error.kind, SEAL, error)
        except ValueError:
            self.findings.add("seal", SEAL, "not UTF-8")

    def check_files(self) -> None:
        """Each file of the manifest is there with its size and hash, and no other."""
        if len(self.listed) != len(self.manifest["files"]) or {MANIFEST, SEAL} & set(self.listed):
            self.findings.add("manifest", MANIFEST, "its list of files is not sound")
        for name in sorted(set(self.box.sizes) - set(self.listed) - {MANIFEST, SEAL}):
            self.findings.add("added", name, "not in the manifest")
        for name, item in sorted(self.listed.items()):
            if name not in self.box.sizes:
                self.findings.add("missing", name, "not in the bundle")
            elif self.box.sizes[name] != item["size"]:
                self.findings.add("size", name, "not as long as the manifest says")
            elif self.hash(name) != item["sha256"]:
                self.findings.add("changed", name, "SHA-256 differs from the manifest's")
            else:
                self.intact.add(name)

    def hash(self, name: str) -> str:
        digest = hashlib.sha256()
        try:
            for chunk in self.chunks(name):
                digest.update(chunk)
        except Wrong:
            return "unreadable"
        return digest.hexdigest()

    def chunks(self, name: str) -> Iterator[bytes]:
        """The file's bytes, as many as were listed."""
        left = self.box.sizes[name]
        try:
            with self.box.open(name) as file:
                while left:
                    chunk = file.read(min(CHUNK, left))
                    if not chunk:
                        raise Wrong("unreadable", "ends early")
                    left -= len(chunk)
                    yield chunk
        except READ_ERRORS:
            raise Wrong("unreadable", "cannot be read") from None

    def check_names(self) -> None:
        """The set of files follows from the list of messages."""
        named = {"verify.py", *self.manifest["reports"]}
        for message in self.manifest["messages"]:
            if message["folder"] != "messages/" + message["bates"]["first"]:
                self.findings.add("bates", message["folder"], "not the folder of its Bates number")
            files = [f"capture-{number + 1}.eml" for number in range(len(message["captures"]))]
            named |= {f"{message['folder']}/{name}" for name in ["message.eml", "proof.json", *files]}
            named |= {f"{message['folder']}/{LOOKS}"} & set(self.listed)
        for name in sorted(named - set(self.listed)):
            self.findings.add("unlisted", name, "the manifest names it but has no hash of it")
        for name in sorted(set(self.listed) - named):
            if not CHECKPOINT_FILE.match(name):
                self.findings.add("unexplained", name, "belongs to no message")

    def check_numbers(self) -> None:
        """Counts add up; Bates numbers run from first to last, page by page."""
        bates, counts, messages = self.manifest["bates"], self.manifest["counts"], self.manifest["messages"]
        captures = sum(len(message["captures"]) for message in messages)
        if (counts["messages"], counts["captures"]) != (len(messages), captures):
            self.findings.add("counts", MANIFEST, "messages or captures do not add up")
        if len({message["id"] for message in messages}) != len(messages):
            self.findings.add("manifest", MANIFEST, "a message stands twice")
        try:
            first, last = self.number(bates["first"]), self.number(bates["last"])
            spans = [[self.number(m["bates"][end]) for end in ("first", "last")] for m in messages]
            good = first <= last and counts["pages"] == last - first + 1
            at = spans[0][0] if spans else last + 1
            good = good and at >= first
            for start, end in spans:
                good = good and start == at and end >= start
                at = end + 1
            if not good or at != last + 1:
                raise ValueError("the Bates numbers do not run from first to last")
        except ValueError as error:
            self.findings.add("bates", MANIFEST, error)

    def number(self, bates: str) -> int:
        prefix = self.manifest["bates"]["prefix"]
        if not bates.startswith(prefix) or not re.match(r"[0-9]{7,15}\Z", bates[len(prefix) :]):
            raise ValueError("a Bates number of another form")
        return int(bates[len(prefix) :])

    def check_message(self, message: Any) -> None:
        """The proofs of one message's captures, and the slice that message.eml is."""
        name = message["folder"] + "/proof.json"
        if name not in self.intact:
            return None  # named already
        try:
            proof = parse_json(read_small(self.box, name))
            shape(proof, PROOF_FORM)
            captures = proof["captures"]
            files = [f"capture-{number + 1}.eml" for number in range(len(captures))]
            same = has(proof, version=1, message=message["id"]) and captures
            if not same or [(c["id"], c["file"]) for c in captures] != list(zip(message["captures"], files)):
                raise ValueError("not the proof of this message")
        except (ValueError, Wrong) as error:
            return self.findings.add("proof", name, error)
        self.attachments += len(proof["attachments"])
        for number, capture in enumerate(captures):
            where = f"{message['folder']}/{capture['file']}"
            try:
                self.check_capture(capture, where, "" if number else message["folder"] + "/message.eml")
            except Wrong as error:
                self.findings.add(error.kind, where, error)
        return self.check_looks(message, {capture["id"]: capture for capture in captures})

    def check_looks(self, message: Any, captures: Dict[str, Any]) -> None:
        """What was seen of these captures after their receipt, if the bundle says so."""
        name = f"{message['folder']}/{LOOKS}"
        if name not in self.intact:
            return
        try:
            value = parse_json(read_small(self.box, name))
            shape(value, LOOKS_FORM)
            if not has(value, version=1, message=message["id"]) or not value["looks"]:
                raise ValueError("not the evidence of this message")
        except (ValueError, Wrong) as error:
            self.findings.add("evidence", name, error)
            return
        for look in value["looks"]:
            try:
                self.check_look(look, captures.get(look["capture"]))
            except Wrong as error:
                self.findings.add(error.kind, name, error)

    def check_look(self, look: Any, capture: Any) -> None:
        """Evidence opens the commit of an entry of the order log that names the capture's own entry."""
        try:
            entry = parse_json(look["entry"].encode("utf-8"))
            own = parse_json(capture["entry"].encode("utf-8")) if capture else None
            said = parse_json(look["evidence"].encode("utf-8"))
        except ValueError:
            raise Wrong("evidence", "not canonical JSON") from None
        if not has(entry, version=1, type="evidence", seq=look["index"], capture=look["capture"]):
            raise Wrong("evidence", "not an entry of evidence")
        place = {"log": own.get("log"), "seq": capture["index"]} if isinstance(own, dict) else None
        if place is None or not has(entry.get("of"), **place) or not has(said, capture=look["capture"]):
            raise Wrong("evidence", "an entry of another capture")
        log = entry.get("log")
        if not self.tenant or log != self.tenant + "/order-1":
            raise Wrong("tenant", "an entry of another log than this tenant's order")
        if (log, look["index"]) in self.seen:
            raise Wrong("evidence", "this entry stands in the bundle twice")
        self.seen.add((log, look["index"]))
        data = look["evidence"].encode("utf-8")
        salted = b"archive-service/evidence-commit/v1\x00" + bytes.fromhex(look["salt"]) + data
        if hashlib.sha256(salted + struct.pack(">Q", len(data))).hexdigest() != entry.get("commit"):
            raise Wrong("evidence", "it does not open the commit of its entry")
        checkpoint = self.checkpoint(look["checkpoint"], log)
        if checkpoint is None:
            return  # named already
        if checkpoint[0] != log:
            raise Wrong("inclusion", "its checkpoint is of another log")
        if not included(look["entry"], look["index"], look["inclusion"], checkpoint[1], checkpoint[2]):
            raise Wrong("inclusion", "its entry does not stand in the log of its checkpoint")

    def check_capture(self, capture: Any, where: str, inner: str) -> None:
        entry = self.entry(capture)
        if where in self.intact and self.commit(capture, where, inner) != entry.get("commit"):
            raise Wrong("commit", "its bytes and salt do not open the commit of the log entry")
        checkpoint = self.checkpoint(capture["checkpoint"], entry["log"])
        if checkpoint is None:
            return  # named already
        log, size, root = checkpoint
        if log != entry["log"]:
            raise Wrong("inclusion", "its checkpoint is of another log")
        if not included(capture["entry"], capture["index"], capture["inclusion"], size, root):
            raise Wrong("inclusion", "its entry does not stand in the log of its checkpoint")

    def entry(self, capture: Any) -> Any:
        """The log entry, which must be this capture's, of this bundle's tenant, and stand here once."""
        try:
            entry = parse_json(capture["entry"].encode("utf-8"))
        except ValueError:
            raise Wrong("entry", "not canonical JSON") from None
        if not has(entry, version=1, type="capture", seq=capture["index"], capture=capture["id"]):
            raise Wrong("entry", "not the entry of this capture")
        log = entry.get("log")
        if not isinstance(log, str) or not LOG.match(log):
            raise Wrong("entry", "an entry of no log")
        self.tenant = self.tenant or log.split("/")[0]
        if log.split("/")[0] != self.tenant:
            raise Wrong("tenant", "an entry of another tenant's log")
        if {capture["id"], (log, capture["index"])} & self.seen:
            raise Wrong("entry", "this capture stands in the bundle twice")
        self.seen |= {capture["id"], (log, capture["index"])}
        return entry

    def commit(self, capture: Any, where: str, inner: str) -> str:
        """The commit recomputed from the capture's bytes; on the way, the slice's hash is compared."""
        size, start, end = self.box.sizes[where], capture["inner_start"], capture["inner_end"]
        if not start <= end <= size:
            raise Wrong("slice", "the message's place lies outside the capture")
        raw = hashlib.sha256(b"archive-service/raw/v1\x00" + bytes.fromhex(capture["salt"]))
        part, at = hashlib.sha256(), 0
        for chunk in self.chunks(where):
            raw.update(chunk)
            part.update(chunk[max(start - at, 0) : max(end - at, 0)])
            at += len(chunk)
        raw.update(struct.pack(">Q", size))
        if inner in self.intact and self.listed[inner]["sha256"] != part.hexdigest():
            self.findings.add("slice", inner, "not the stated bytes of the first capture")
        record = bytes.fromhex(capture["record_commit"])
        return hashlib.sha256(b"archive-service/commit/v1\x00" + raw.digest() + record).hexdigest()

    def checkpoint(self, name: str, log: str) -> Optional[Tuple[str, int, bytes]]:
        """(log, size, root hash) of a checkpoint file, checked once, or None."""
        if name in self.notes:
            return self.notes[name]
        self.notes[name] = None
        if name not in self.listed:
            self.findings.add("unlisted", name, "the manifest names it but has no hash of it")
        if name not in self.intact:
            return None
        try:
            value = parse_json(read_small(self.box, name))
            shape(value, CHECKPOINT_FORM)
            if value["version"] != 1:
                raise Wrong("checkpoint", "of an unknown version")
            size, root = open_checkpoint(value["note"], log, self.keys["log"], self.openssl, "checkpoint")
            self.check_anchor(value["note"], value["root"])
            self.notes[name] = (log, size, root)
        except Wrong as error:
            self.findings.add(error.kind, name, error)
        except ValueError as error:
            self.findings.add("checkpoint", name, error)
        return self.notes[name]

    def check_anchor(self, note: str, proof: Any) -> None:
        """The checkpoint is anchored in an entry of the root log, which stands under a signed root."""
        try:
            entry = parse_json(proof["entry"].encode("utf-8"))
        except ValueError:
            raise Wrong("anchor", "not canonical JSON") from None
        log = entry.get("log") if has(entry, version=1, type="anchors", seq=proof["index"]) else None
        if not isinstance(log, str) or log.split("/")[-1] != "root":
            raise Wrong("anchor", "not an entry of the root log")
        size, root = open_checkpoint(proof["note"], log, self.keys["root"], self.openssl, "anchor")
        salted = b"archive-service/anchor/v1\x00" + bytes.fromhex(proof["salt"]) + note.encode("utf-8")
        anchors = entry.get("anchors")
        if not isinstance(anchors, list) or hashlib.sha256(salted).hexdigest() not in anchors:
            raise Wrong("anchor", "the checkpoint is not anchored in this entry")
        if not included(proof["entry"], proof["index"], proof["inclusion"], size, root):
            raise Wrong("anchor", "the entry does not stand in the root log")

    def check_rest(self) -> None:
        """What only the proofs tell: attachments add up, no checkpoint lies about unused."""
        if self.attachments != self.manifest["counts"]["attachments"]:
            self.findings.add("counts", MANIFEST, "attachments do not add up")
        for name in sorted(set(self.listed) - set(self.notes)):
            if CHECKPOINT_FILE.match(name):
                self.findings.add("unexplained", name, "no capture refers to it")


# ---------------------------------------------------------------- the command


def check(path: Path, pinned: Sequence[str], say: Callable[[str], None]) -> List[str]:
    """The failures of a folder or ZIP, a line each; says on the way what to compare with the paper."""
    findings = Findings()
    openssl: Signatures = Unchecked()
    try:
        openssl = OpenSSL(path)
    except Wrong as error:
        findings.add(error.kind, path.name, error)
    try:
        box: Box = Folder(path) if path.is_dir() else Zip(path)
    except (*READ_ERRORS, ValueError):
        findings.add("unreadable", path.name, "not a bundle")
        return findings.lines
    try:
        box.list(findings)
        checker = Checker(box, findings, openssl, pinned)
        checker.run()
        if checker.manifest:
            tell(checker, say)
    except (*READ_ERRORS, ValueError):
        findings.add("unreadable", path.name, "not a bundle")
    except Wrong as error:
        findings.add(error.kind, path.name, error)
    finally:
        box.close()
    return findings.lines


def tell(checker: Checker, say: Callable[[str], None]) -> None:
    """What a reader compares with the paper."""
    export, counts = checker.manifest["export"], checker.manifest["counts"]
    bates = checker.manifest["bates"]
    say(f"Export {export['id']}, {bates['first']} to {bates['last']}: {counts['messages']} messages,")
    say(f"{counts['captures']} captures, {counts['attachments']} attachments, {counts['pages']} pages")
    say(f"SHA-256 of manifest.json: {checker.digest.hex()}")
    for role, keys in checker.keys.items():
        for key in keys:
            say(f"SHA-256 of the {role} key {key.name}: {key.fingerprint()}")
    if not checker.pinned:
        say("Compare these with what you were given on paper, or pass the keys with --key.")


def main(words: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""

    def say(line: str) -> None:
        print(re.sub("[^ -~]", "?", line))

    if "-h" in words or "--help" in words:
        print(__doc__)
        return 0
    paths, pinned, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        if word == "--key" and rest:
            pinned.append(rest.pop(0))
        else:
            paths.append(word)
    try:
        for text in pinned:
            Key(text)
    except ValueError as error:
        say(f"verify.py: --key: {error}")
        return 2
    path = Path(paths[0] if paths else _HERE)
    if len(paths) > 1 or (paths and paths[0].startswith("-")) or not path.exists():
        say("usage: python3 verify.py [--key VKEY]... [FOLDER or ZIP]")
        return 2
    lines = check(path, pinned, say)
    for line in lines:
        say("FAILED " + line)
    say(f"NOT OK: {len(lines)} failures" if lines else "OK: every file and every proof is in order")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
