"""Writes an evidence bundle: one ZIP with the report, every message and capture, all proofs, and ``verify.py``.

    manifest.json  manifest.sig  report.pdf  verify.py
    checkpoints/N.json                        a log's signed checkpoint and its anchor in the root log
    messages/BATES/message.eml                the message, the exact bytes inside the first capture
    messages/BATES/capture-N.eml              each capture as received
    messages/BATES/proof.json                 salts, entries, inclusion proofs; attachments with hashes

``manifest.json`` covers every other file but ``manifest.sig``, which is a C2SP signed note over it. The same
evidence gives the same bytes: names sorted, members stored, all dated by the request.
"""

import base64
import os
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

from archive_service.export.bundle_spool import Piece, Spool, SpooledMessage, piece_of
from archive_service.export.evidence import (
    ArchiveKeys,
    BundleRequest,
    BundleResult,
    ExportFailed,
    MessageEvidence,
    NoteSigner,
    Progress,
    Reserve,
    named,
)
from archive_service.export.manifest import (
    FORMAT,
    MANIFEST,
    SCRIPT,
    SEAL,
    Bates,
    Counts,
    Export,
    Keys,
    ListedFile,
    ListedMessage,
    Span,
)
from archive_service.export.numbering import Numbering, check_prefix, message_folder
from archive_service.export.report_pdf import VOLUME_PAGES, Report
from archive_service.export.verify_bundle import verify_bundle
from archive_service.export.words import Words
from archive_service.model.canonical import canonical
from archive_service.model.clock import from_rfc3339
from archive_service.model.errors import Invalid

_CHUNK = 1 << 20
_ZIP64_FROM = (1 << 31) - 1


def from_one(pages: int) -> int:
    """A ``Reserve`` for productions that stand alone."""
    del pages
    return 1


def ignore(done: int) -> None:
    """A ``Progress`` that nobody watches."""
    del done


def write_bundle(
    request: BundleRequest,
    messages: Iterable[MessageEvidence],
    keys: ArchiveKeys,
    sign: NoteSigner,
    target: Path,
    *,
    reserve: Reserve = from_one,
    progress: Progress = ignore,
    volume_pages: int = VOLUME_PAGES,
) -> BundleResult:
    """Takes the messages one by one and leaves a finished ZIP at ``target``, replacing what was there.

    Memory stays flat; about twice the bundle's size is needed beside ``target`` meanwhile, in a folder
    only this user can read. The ZIP is checked by ``verify_bundle`` before it takes its name, and is durable
    on return. Raises Invalid for a request that cannot be, ExportFailed if the evidence does not hold;
    whatever ``messages``, ``sign``, ``reserve`` or ``progress`` raise passes through, and leaves nothing.
    """
    _check_request(request)
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=target.parent) as folder:
        work = Path(folder)
        report = Report(work, request, keys, volume_pages=volume_pages)
        with Spool(work) as spool:
            for done, evidence in enumerate(messages, 1):
                with named(evidence.message.id):
                    spool.add(evidence)
                    report.add(evidence)
                progress(done)
            pages = report.paginate()
            numbering = Numbering(request.bates_prefix, reserve(pages), pages)
            draft = _Draft(work, request, keys, report, numbering, spool)
            result = draft.write(sign, work / "bundle.zip", target)
        _publish(work / "bundle.zip", target)
    return result


def _check_request(request: BundleRequest) -> None:
    """Raises Invalid."""
    check_prefix(request.bates_prefix)
    Words(request.lang)
    if (request.query is None) == (request.ids is None):
        raise Invalid("a bundle is asked for either by a query or by ids")
    try:
        from_rfc3339(request.requested_at)
        _export(request)
    except ValueError as error:
        raise Invalid("an export id or time of another form") from error


def _publish(written: Path, target: Path) -> None:
    """Checks the ZIP, then gives it its name, durably."""
    flaws = verify_bundle(written)
    if flaws:
        raise ExportFailed(f"the bundle does not verify: {flaws[0].split(':')[0]}, {len(flaws)} failures")
    written.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _export(request: BundleRequest) -> Export:
    return Export(
        id=request.export_id,
        tenant=request.tenant_name,
        matter=request.matter,
        purpose=request.purpose,
        requested_by=request.requested_by,
        requested_at=request.requested_at,
        query=request.query,
        ids=None if request.ids is None else list(request.ids),
    )


class _Draft:
    """A bundle whose messages are spooled and whose pages are numbered."""

    def __init__(
        self,
        work: Path,
        request: BundleRequest,
        keys: ArchiveKeys,
        report: Report,
        numbering: Numbering,
        spool: Spool,
    ) -> None:
        self._work, self._request, self._keys, self._report = work, request, keys, report
        self._numbering, self._spool = numbering, spool
        script = work / SCRIPT
        script.write_bytes(files("archive_service.export.verify_script").joinpath(SCRIPT).read_bytes())
        self._script = piece_of(SCRIPT, script)
        self._reports = sorted(
            (piece_of(path.name, path) for path in report.draw(numbering)), key=lambda piece: piece.name
        )

    def write(self, sign: NoteSigner, path: Path, target: Path) -> BundleResult:
        """The ZIP at ``path``, not yet checked; durable, readable by this user only."""
        manifest, count = self._write_manifest()
        seal = self._write_seal(sign, manifest, count)
        path.touch(0o600, exist_ok=False)  # it keeps its mode when it leaves the private folder
        with path.open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as zipped:
                for piece in self._in_order(manifest, seal):
                    self._put(zipped, piece)
            file.flush()
            os.fsync(file.fileno())
        totals, numbering = self._report.totals, self._numbering
        return BundleResult(
            path=target,
            size=path.stat().st_size,
            manifest_sha256=manifest.sha256,
            messages=totals.messages,
            captures=totals.captures,
            attachments=totals.attachments,
            pages=numbering.pages,
            bates_first=numbering.label(0),
            bates_last=numbering.label(numbering.pages - 1),
            capture_ids=tuple(each for message in self._spool.messages() for each in message.captures),
        )

    def _in_order(self, manifest: Piece, seal: Piece) -> Iterator[Piece]:
        """Every file, sorted by path."""
        yield from self._spool.checkpoints()
        yield manifest
        yield seal
        for _, folder, message in self._messages():
            yield from (piece.under(folder) for piece in message.pieces)
        yield from self._reports
        yield self._script

    def _messages(self) -> Iterator[tuple[Span, str, SpooledMessage]]:
        for span, message in zip(self._report.spans(), self._spool.messages(), strict=True):
            bates = Span(first=self._numbering.label(span.first), last=self._numbering.label(span.last))
            yield bates, message_folder(bates.first), message

    def _listed_files(self) -> Iterator[bytes]:
        pieces = list(self._spool.checkpoints())
        yield from map(_listed, pieces)
        for _, folder, message in self._messages():
            yield from (_listed(piece.under(folder)) for piece in message.pieces)
        yield from map(_listed, (*self._reports, self._script))

    def _listed_messages(self) -> Iterator[bytes]:
        for bates, folder, message in self._messages():
            item = ListedMessage(id=message.id, folder=folder, bates=bates, captures=list(message.captures))
            yield canonical(item.model_dump())

    def _write_manifest(self) -> tuple[Piece, int]:
        """Piece by piece, since it may be long, and with its keys in order; the number of files, too."""
        numbering, totals = self._numbering, self._report.totals
        last = numbering.label(numbering.pages - 1)
        bates = Bates(prefix=numbering.prefix, first=numbering.label(0), last=last)
        counts = Counts(
            messages=totals.messages,
            captures=totals.captures,
            attachments=totals.attachments,
            pages=numbering.pages,
        )
        keys = Keys(log=list(self._keys.log), root=list(self._keys.root))
        path = self._work / MANIFEST
        with path.open("xb") as file:
            file.write(b'{"bates":' + canonical(bates.model_dump()))
            file.write(b',"counts":' + canonical(counts.model_dump()))
            file.write(b',"export":' + canonical(_export(self._request).model_dump()))
            file.write(b',"files":')
            count = _write_list(file, self._listed_files())
            file.write(b',"format":' + canonical(FORMAT))
            file.write(b',"keys":' + canonical(keys.model_dump()))
            file.write(b',"messages":')
            _write_list(file, self._listed_messages())
            file.write(b',"reports":' + canonical([piece.name for piece in self._reports]) + b"}")
        return piece_of(MANIFEST, path), count

    def _write_seal(self, sign: NoteSigner, manifest: Piece, count: int) -> Piece:
        """A note in a checkpoint's form: the export as origin, the number of files, the manifest's hash."""
        digest = base64.b64encode(bytes.fromhex(manifest.sha256)).decode("ascii")
        path = self._work / SEAL
        path.write_text(
            sign(f"{FORMAT}/{self._request.export_id}\n{count}\n{digest}\n"), encoding="utf-8", newline="\n"
        )
        return piece_of(SEAL, path)

    def _put(self, zipped: zipfile.ZipFile, piece: Piece) -> None:
        moment = from_rfc3339(self._request.requested_at)
        earliest, latest = datetime(1980, 1, 1, tzinfo=UTC), datetime(2107, 12, 31, tzinfo=UTC)
        info = zipfile.ZipInfo(piece.name, min(max(moment, earliest), latest).timetuple()[:6])
        info.external_attr = 0o100644 << 16
        info.create_system = 3
        info.file_size = piece.size
        with zipped.open(info, "w", force_zip64=piece.size > _ZIP64_FROM) as member:
            for chunk in piece.chunks():
                member.write(chunk)


def _listed(piece: Piece) -> bytes:
    return canonical(ListedFile(path=piece.name, size=piece.size, sha256=piece.sha256).model_dump())


def _write_list(file: BinaryIO, items: Iterable[bytes]) -> int:
    count = 0
    file.write(b"[")
    for item in items:
        file.write(b"," + item if count else item)
        count += 1
    file.write(b"]")
    return count
