"""The certificate of a disposition on paper: what ``certificate`` says, and the signed note over it, set in words."""

from collections.abc import Mapping
from typing import Any

from archive_service.export.paper import Paper, Part, paper_pdf
from archive_service.export.pdf_layout import Column

_COLUMNS = (
    Column("Class", 0.24),
    Column("Legal basis", 0.46),
    Column("Term", 0.18),
    Column("Captures", 0.12),
)
_TITLE = "Certificate of destruction"


def certificate_pdf(whole: Mapping[str, Any]) -> bytes:
    """The PDF of what ``certificate.certificate`` made; the same gives the same bytes."""
    said = whole["certificate"]
    part = Part(facts=_facts(said), columns=_COLUMNS, rows=_rows(said))
    name = str(said.get("order") or said["disposition"])
    at = str(said["said_at"] or said["made_unreadable_on"])
    return paper_pdf(Paper(_TITLE, _means(said), (part,), str(whole["note"]), name, at))


def _means(said: Mapping[str, Any]) -> str:
    why = "under an order" if "order" in said else "at the end of their retention term"
    deleted = said["ciphertext_deleted_on"]
    gone = (
        f"was deleted on {_day(deleted)}"
        if deleted
        else "is not seen to be deleted yet; what lies under a lock of the store goes when that ends"
    )
    return (
        f"{said['captures']} captures of the archive were destroyed {why}. They were "
        f"made unreadable on {_day(said['made_unreadable_on'])}: from then on no copy of the archive's keys, backups "
        f"included, opens them. Their ciphertext {gone}."
    )


def _facts(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "order" in said:
        return _of_order(said)
    return [
        ("Disposition", str(said["disposition"])),
        ("Archive owner", str(said["owner"])),
        ("Decided", f"{_day(said['decided_at'])}, by two people, approval {said['approval']}"),
        ("Schedule", f"version {said['schedule_version']}"),
        *_visa(said),
        ("Made unreadable on", str(said["made_unreadable_on"])),
        ("Ciphertext deleted on", str(said["ciphertext_deleted_on"])),
        *_exports(said),
    ]


def _visa(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    visa = said.get("visa")
    if not visa or "reference" not in visa:
        return []
    words = f"{visa['reference']} of {visa['issuer']}, dated {visa['dated']}"
    return [("Visa (Code du patrimoine, R212-14)", words), ("List (SHA-256)", str(visa["list_sha256"]))]


def _of_order(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Order", f"{said['order']}: {said['reference']} of {said['issuer']}, dated {said['dated']}"),
        ("Document (SHA-256)", str(said["document_sha256"] or "none")),
        ("Archive owner", str(said["owner"])),
        ("Decided", f"{_day(said['decided_at'])}, by two people, approval {said['approval']}"),
        ("Made unreadable on", str(said["made_unreadable_on"])),
        ("Ciphertext deleted on", str(said["ciphertext_deleted_on"] or "not yet")),
        *_exports(said),
    ]


def _exports(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    none = [("Finished exports", "none that the archive keeps holds any of it")]
    return none if said.get("finished_exports_gone") else []


def _rows(said: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (
            each["class"],
            each["article"],
            f"{each['maximum']} from {each['starts_with']}",
            str(each["captures"]),
        )
        for each in said.get("classes", ())
    ]


def _day(time: str) -> str:
    return time[:19].replace("T", " ") + " UTC"
