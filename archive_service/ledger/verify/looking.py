"""Looking into a store that may have been tampered with: what stands where nothing belongs is named, and passed by."""

from collections.abc import Iterator

from archive_service.ledger.reader import batch_from
from archive_service.ledger.verify.report import Report, What
from archive_service.model.errors import Invalid, StoreError, Tampered
from archive_service.vault import key_layout
from archive_service.vault.key_layout import LogId
from archive_service.vault.stores.base import ObjectStore, Stored

_EMBEDDED = {"keys", "kms", "run", "projections", "exports", "locks", "holds"}
"""What lies beside the store where the folder of the archive is its work folder, and its key places' too."""
_TOPS = {"ledger", "objects", "probe"} | _EMBEDDED


def listed(
    store: ObjectStore, prefix: str, report: Report, *, after: str = "", log: str | None = None
) -> Iterator[Stored]:
    """As ``store.list``; something that is no object at all is named, and ends the listing. Raises StoreError."""
    try:
        yield from store.list(prefix, after)
    except Tampered as error:
        report.damage(What.STORE, f"the listing ends here: {error}", log=log, name=prefix)


def _folders(store: ObjectStore, prefix: str, report: Report) -> Iterator[str]:
    """The names right below a prefix, by skipping from one to the next."""
    after = ""
    while (first := next(listed(store, prefix, report, after=after), None)) is not None:
        name = first.key.removeprefix(prefix).partition("/")[0]
        yield name
        after = f"{prefix}{name}/~"


def stray_tops(store: ObjectStore, report: Report) -> None:
    """Name what lies outside the archive's folders: harmless, but not the archive's."""
    for name in _folders(store, "", report):
        if name not in _TOPS:
            report.note(What.STORE, "an object stands where the archive has nothing", name=name)


def find_owners(store: ObjectStore, report: Report) -> list[str]:
    """Every owner with a folder in the ledger; other names there are damage."""
    found: list[str] = []
    for name in _folders(store, "ledger/", report):
        if key_layout.is_owner(name):
            found.append(name)
        else:
            report.damage(What.STORE, "an object stands where no owner belongs", name=f"ledger/{name}")
    return found


def find_logs(store: ObjectStore, owner: str, report: Report) -> list[LogId]:
    """Every log of an owner; other names there are damage, and so are other folders in a log."""
    found: list[LogId] = []
    for name in _folders(store, f"ledger/{owner}/", report):
        try:
            log = LogId.parse(f"{owner}/{name}")
        except Invalid:
            detail = "an object stands where no log belongs"
            report.damage(What.STORE, detail, name=f"ledger/{owner}/{name}")
            continue
        found.append(log)
        for part in _folders(store, key_layout.log_prefix(log), report):
            if part not in {"batch", "checkpoint", "tile"}:
                detail = "an object stands where a log has nothing"
                report.damage(What.STORE, detail, log=str(log), name=key_layout.log_prefix(log) + part)
    return found


def stray_objects(store: ObjectStore, logs: set[str], report: Report) -> None:
    """Name what lies among the objects under no log that exists: harmless, but not the archive's."""
    for owner in _folders(store, "objects/", report):
        names = list(_folders(store, f"objects/{owner}/", report))
        if not names:
            report.note(What.ORPHAN, "an object stands where no owner belongs", name=f"objects/{owner}")
        for name in names:
            if f"{owner}/{name}" not in logs:
                detail = "objects of a log that does not exist"
                report.note(What.ORPHAN, detail, name=f"objects/{owner}/{name}")


def grown_to(store: ObjectStore, log: LogId, size: int, wanted: int) -> int:
    """Where a log ends now that ended at ``size`` a moment ago; looks no further than ``wanted``."""
    try:
        while size < wanted and (batch := batch_from(store, log, size)) is not None:
            size = batch[-1].seq + 1
    except (Tampered, StoreError):
        return size  # the next run names it
    return size
