"""What an evidence bundle is made of: the request, the messages with their captures, and the proofs.

The caller reads captures through the verified read path and takes proofs from the ledger; nothing in
this package opens a store or a log. Byte layouts: ``R``, ``E`` and the commit as in FORMAT.md, leaves
and nodes as in RFC 6962 section 2.1, checkpoints and keys as in C2SP ``signed-note``.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from archive_service.catalog.base import CaptureRow, MessageRow
from archive_service.model.errors import ArchiveError
from archive_service.model.evidence import Evidence
from archive_service.model.mail import Text

NoteSigner = Callable[[str], str]
"""Takes a note's text (ending in a newline) and returns the C2SP signed note over it, made with one of
the ``ArchiveKeys``. It seals the manifest."""

Reserve = Callable[[int], int]
"""Takes the number of pages and returns the first Bates number. Called once, when the page count is
known and before any number is printed, so that the range can stand in the acts log first."""

Progress = Callable[[int], None]
"""Told the number of messages done so far."""


class ExportFailed(ArchiveError):
    """A bundle could not be made, or the one made does not verify; nothing is handed over."""

    code = "export.failed"


@dataclass(frozen=True)
class BundleRequest:
    """Who asked for what. ``requested_at`` is RFC 3339 UTC and dates everything in the ZIP.

    ``bates_prefix``: 1 to 40 characters of ``A-Z a-z 0-9 . _ -``, the first of them a letter or digit.
    ``lang`` is the report's language, ``en`` or ``fr``. Exactly one of ``query`` and ``ids`` is set. ``named``: a
    line for each person in the query, with the addresses that were used.
    """

    export_id: str
    tenant_name: str
    matter: str | None
    purpose: str | None
    requested_by: str
    requested_at: str
    query: str | None
    ids: tuple[str, ...] | None
    bates_prefix: str
    lang: str = "en"
    named: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArchiveKeys:
    """C2SP verifier keys (``name+hash+base64(0x01 || Ed25519 public key)``): of the capture logs, and of
    the root log."""

    log: tuple[str, ...]
    root: tuple[str, ...]


@dataclass(frozen=True)
class RootProof:
    """That a capture log's checkpoint is anchored in the root log.

    ``entry`` is the canonical JSON of an ``anchors`` entry, one of whose anchors is
    SHA-256("archive-service/anchor/v1" 0x00 || ``salt`` || the checkpoint note). ``checkpoint`` is the
    root log's own signed note, of ``tree_size`` entries.
    """

    salt: bytes
    entry: bytes
    index: int
    inclusion: tuple[bytes, ...]
    tree_size: int
    checkpoint: str


@dataclass(frozen=True)
class CaptureProof:
    """That a capture stands in its log: ``entry`` (canonical JSON line, no newline) at ``index``, its
    ``inclusion`` path (leaf's sibling first) in the ``checkpoint`` of ``tree_size`` entries, and what
    opens its commit: ``salt`` (salt1) beside the raw bytes, ``record_commit`` (E) as a hash only."""

    entry: bytes
    log_origin: str
    index: int
    inclusion: tuple[bytes, ...]
    tree_size: int
    checkpoint: str
    salt: bytes
    record_commit: bytes
    root: RootProof


@dataclass(frozen=True)
class LookProof:
    """What was seen of a capture after its ``250``: ``evidence`` and ``salt`` open the commit of ``entry``, which
    stands at ``index`` of the order log; the rest as in ``CaptureProof``."""

    evidence: Evidence
    salt: bytes
    entry: bytes
    log_origin: str
    index: int
    inclusion: tuple[bytes, ...]
    tree_size: int
    checkpoint: str
    root: RootProof


@dataclass(frozen=True)
class CaptureEvidence:
    """One capture as received, byte for byte, already verified against its entry, with its proof; and what was seen of
    it, in order."""

    row: CaptureRow
    raw: bytes
    proof: CaptureProof
    looks: tuple[LookProof, ...] = ()


@dataclass(frozen=True)
class CustodyEvent:
    """One thing that happened to a message in the archive, from the logs: when, what, where recorded.

    ``event``: ``captured``, ``identified`` or ``anchored``, which the report puts into words with ``detail``
    (the sealed object's SHA-256, the capture, the entries under the checkpoint); else printed as it is."""

    time: str
    event: str
    log: str
    seq: int
    detail: str = ""


@dataclass(frozen=True)
class MessageEvidence:
    """A message with the evidence of each capture, in the order of ``message.captures``, the first one's
    inner bytes being ``message.eml``."""

    message: MessageRow
    captures: tuple[CaptureEvidence, ...]
    text: Text
    custody: tuple[CustodyEvent, ...] = ()


@contextmanager
def named(message: str) -> Iterator[None]:
    """Has an ArchiveError of the block name the message (by its opaque id) that it is about; its class, code
    and attributes stay."""
    try:
        yield
    except ArchiveError as error:
        error.args = (f"message {message}: {error}",)
        raise


@dataclass(frozen=True)
class BundleResult:
    """A finished bundle. ``manifest_sha256`` (hex) is what to note on paper at the hand-over; ``capture_ids``: whose
    bytes are in it."""

    path: Path
    size: int
    manifest_sha256: str
    messages: int
    captures: int
    attachments: int
    pages: int
    bates_first: str
    bates_last: str
    capture_ids: tuple[str, ...] = ()
