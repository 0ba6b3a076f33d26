"""The bundle's own records: ``manifest.json``, each ``proof.json``, each ``checkpoints/N.json``.

All are canonical JSON with every field present. Unknown or missing fields, and values of another type,
are refused, so that a record says one thing only. ``verify.py`` holds the same forms, written anew.
"""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from archive_service.model.canonical import parse_canonical

FORMAT = "archive-service/bundle/v1"
MANIFEST = "manifest.json"
SEAL = "manifest.sig"
SCRIPT = "verify.py"
LOOKS = "evidence.json"

SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,3}$"
CHECKPOINT_NAME = r"^checkpoints/[0-9]{1,9}\.json$"

Name = Annotated[str, StringConstraints(pattern=SAFE_NAME)]
ReportName = Annotated[str, StringConstraints(pattern=r"^report(-[0-9]{1,4})?\.pdf$")]
CaptureName = Annotated[str, StringConstraints(pattern=r"^capture-[0-9]{1,9}\.eml$")]
CheckpointName = Annotated[str, StringConstraints(pattern=CHECKPOINT_NAME)]
Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ExportId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
VersionOne = Annotated[int, Field(ge=1, le=1)]  # Literal[1] would take ``true``, which equals 1
Whole = Annotated[int, Field(ge=0, lt=2**53)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Export(_Record):
    """The request, as it was made."""

    id: ExportId
    tenant: str
    matter: str | None
    purpose: str | None
    requested_by: str
    requested_at: str
    query: str | None
    ids: list[str] | None


class Bates(_Record):
    """The Bates numbers of all pages; each is the prefix and at least seven digits."""

    prefix: str
    first: str
    last: str


class Span(_Record):
    """The Bates numbers of one message's pages."""

    first: str
    last: str


class Counts(_Record):
    """What the bundle holds, pages counted over all volumes of the report."""

    messages: Whole
    captures: Whole
    attachments: Whole
    pages: Whole


class Keys(_Record):
    """C2SP verifier keys of the capture logs and of the root log."""

    log: list[str]
    root: list[str]


class ListedMessage(_Record):
    """A message: its folder is ``messages/`` and its first Bates number."""

    id: str
    folder: Name
    bates: Span
    captures: list[str]


class ListedFile(_Record):
    """A file of the ZIP: all but the manifest and its seal are listed, sorted by path."""

    path: Name
    size: Whole
    sha256: Hex32


class Manifest(_Record):
    """``manifest.json``."""

    format: Literal["archive-service/bundle/v1"]
    export: Export
    bates: Bates
    counts: Counts
    keys: Keys
    reports: list[ReportName]
    messages: list[ListedMessage]
    files: list[ListedFile]


class ListedAttachment(_Record):
    """An attachment inside ``message.eml``; size and hash are of its decoded bytes."""

    name: str | None
    type: str
    size: Whole
    sha256: Hex32


class ProvenCapture(_Record):
    """One capture's proof: ``commit`` of ``entry`` opens with the file's bytes and ``salt``; ``inclusion``
    leads from the entry at ``index`` to the root hash of ``checkpoint``."""

    id: str
    file: CaptureName
    inner_start: Whole
    inner_end: Whole
    salt: Hex32
    record_commit: Hex32
    entry: str
    index: Whole
    inclusion: list[Hex32]
    checkpoint: CheckpointName


class Proof(_Record):
    """``proof.json`` of a message's folder."""

    version: VersionOne
    message: str
    captures: list[ProvenCapture]
    attachments: list[ListedAttachment]


class ProvenLook(_Record):
    """What was seen of a capture of this message after its receipt: ``commit`` of ``entry`` opens with ``salt`` and the
    bytes of ``evidence``, which is canonical JSON; ``entry`` names the capture's entry; the rest as above."""

    capture: str
    evidence: str
    salt: Hex32
    entry: str
    index: Whole
    inclusion: list[Hex32]
    checkpoint: CheckpointName


class ProvenLooks(_Record):
    """``evidence.json`` of a message's folder; only where there is any."""

    version: VersionOne
    message: str
    looks: list[ProvenLook]


class ProvenRoot(_Record):
    """The root log's entry that anchors a checkpoint, with its inclusion in the root log's ``note``."""

    salt: Hex32
    entry: str
    index: Whole
    inclusion: list[Hex32]
    note: str


class ProvenCheckpoint(_Record):
    """``checkpoints/N.json``: a capture log's signed checkpoint, and its anchor."""

    version: VersionOne
    note: str
    root: ProvenRoot


_AnyRecord = TypeVar("_AnyRecord", bound=BaseModel)


def parse_record(form: type[_AnyRecord], data: bytes) -> _AnyRecord:
    """A record from its exact canonical bytes. Raises ValueError; its text holds none of the content."""
    try:
        return form.model_validate(parse_canonical(data))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValidationError as error:
        where = ".".join(str(step) for step in error.errors(include_input=False)[0]["loc"])
        raise ValueError(f"not of the expected form, at {where[:100] or 'its top'}") from error
