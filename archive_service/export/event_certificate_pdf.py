"""The certificate of an event on paper: what ``event_journal.certificate`` says, and the signed note over it."""

from collections.abc import Mapping
from typing import Any

from archive_service.export.paper import Paper, Part, paper_pdf
from archive_service.export.pdf_layout import Column

_COLUMNS = (Column("Entry", 0.24), Column("Log", 0.36), Column("Place", 0.12), Column("Of a tree of", 0.28))

_TITLES = {
    "deposit": "Certificate of deposit",
    "access": "Certificate of access",
    "class_change": "Certificate of a change of class",
    "migration": "Certificate of migration",
    "restitution": "Certificate of restitution",
    "destruction": "Certificate of destruction",
}

_MEANS = {
    "capture": "A mail was archived. Its sealed object, its size and its digests are those named here.",
    "schedule.set": "The retention schedule was set anew, by two people.",
    "retention.relabel": "Captures were put into another retention class by hand, by two people.",
    "retention.extend": "Captures are kept for longer than their class says.",
    "archive.moved": "The archive was closed in the store that it was in, to go on in another.",
    "archive.arrived": "The archive was opened in this store, with everything that it held before.",
    "moved": "Objects were written to another store; each has the digest that it had before.",
    "export.make": "An export was made of messages of the archive.",
    "export.download": "An export was handed out.",
    "handover.make": "Everything that a tenant is owed was handed over.",
    "erasure.ask": "Captures were barred from every read, to be destroyed.",
    "erasure.done": "The keys of captures were destroyed in both places where they lay.",
    "erasure.kms": "The key version that backups of destroyed keys need was destroyed: no backup opens them.",
    "erasure.deleted": "The sealed objects of captures whose keys are destroyed were deleted.",
    "disposition.done": (
        "Captures were destroyed, at the end of their retention term or under an order: their keys, sealed objects, "
        "rows and index text are gone."
    ),
    "capture.withdraw": "A capture was withdrawn from the archive: it was never to be there.",
}
_LOOKED = "Somebody who had the right to looked at what the archive holds."


def event_certificate_pdf(whole: Mapping[str, Any]) -> bytes:
    """The PDF; the same certificate gives the same bytes."""
    said = whole["certificate"]
    means = (
        f"{_MEANS.get(said['what'], _LOOKED)} The log's entry says so, and the proofs of this certificate show that "
        f"it stands in the log, unchanged since a checkpoint was signed over it."
    )
    parts = (
        Part(facts=_facts(said)),
        Part(heading="Entries proven", columns=_COLUMNS, rows=[_row(each) for each in whole["proofs"]]),
    )
    return paper_pdf(
        Paper(_TITLES[said["kind"]], means, parts, str(whole["note"]), said["event"], said["time"])
    )


def _facts(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = [
        ("Event", f"{said['event']} ({said['what']})"),
        ("Archive owner", said["owner"]),
        ("Time", said["time"]),
        ("Entry (SHA-256)", said["entry_sha256"]),
    ]
    for name, value in said["facts"].items():
        if isinstance(value, Mapping):
            told += [(_words(f"{name} {inner}"), str(of)) for inner, of in value.items()]
        else:
            told.append((_words(name), _plain(value)))
    return told


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize().replace("sha256", "SHA-256").replace("sha512", "SHA-512")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _row(proof: Mapping[str, Any]) -> tuple[str, str, str, str]:
    inclusion = proof["inclusion"]
    return proof["entry_of"], proof["log"], str(inclusion["index"]), f"{inclusion['tree_size']} entries"
