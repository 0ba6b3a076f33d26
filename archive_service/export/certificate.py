"""The certificate of a disposition: what was destroyed, why, since when nobody can read it, and proof that the acts
that say so stand in the log. No personal data: no name, no address, no subject; captures are places in a log."""

from collections import Counter
from typing import Any

from archive_service.export.proving import LedgerProofs, checked, inclusion_view, signed
from archive_service.ledger.acts import Acts
from archive_service.ledger.dispositions import Disposition
from archive_service.ledger.eliminations import Elimination
from archive_service.ledger.orders import Order

FORMAT = "archive-service/disposition/v1"
ORDER_FORMAT = "archive-service/order/v1"


def certificate(run: Disposition, acts: Acts, owner: str, proofs: LedgerProofs) -> dict[str, Any]:
    """``certificate`` is what is certified; ``note`` a signed note of checkpoint form over its canonical JSON (origin
    ``FORMAT/ID``, number of captures, SHA-256); ``proofs``: of the acts that it rests on. Raises Overloaded
    (``proof.pending``) until a checkpoint covers them, StoreError, Tampered."""
    return _signed(statement(run, acts, owner), run, acts, proofs, FORMAT)


def order_certificate(
    order: Order,
    run: Disposition,
    unreadable: str,
    document: str | None,
    acts: Acts,
    owner: str,
    proofs: LedgerProofs,
) -> dict[str, Any]:
    """As ``certificate``, of what an order had destroyed. ``unreadable``: since when no backup opens it; ``document``:
    SHA-256 of the order on paper. The ciphertext may still lie under a lock of the store. Raises as that."""
    said = {
        "version": 1,
        "order": order.id,
        "owner": owner,
        "issuer": order.issuer,
        "reference": order.reference,
        "dated": order.dated,
        "document_sha256": document,
        "approval": order.approval,
        "decided_at": order.at,
        "captures": len(run.going),
        "places": [{"log": each.log, "seq": each.seq} for each in run.going],
        "made_unreadable_on": unreadable,
        "ciphertext_deleted_on": run.deleted,
        **_exports(run),
        "said_at": run.done,
    }
    return _signed(said, run, acts, proofs, ORDER_FORMAT)


def _signed(
    said: dict[str, Any], run: Disposition, acts: Acts, proofs: LedgerProofs, form: str
) -> dict[str, Any]:
    tenant_key, archive_key = proofs.keys()
    return {
        "certificate": said,
        "note": signed(proofs, f"{form}/{run.id}", len(run.going), said),
        "keys": {"log": [tenant_key], "root": [archive_key]},
        "proofs": [
            {"act": word, **inclusion_view(checked(proofs, acts.log, position))}
            for word, position in sorted(run.positions.items(), key=lambda item: item[1])
        ],
    }


def statement(run: Disposition, acts: Acts, owner: str) -> dict[str, Any]:
    """What is certified: JSON-ready."""
    version = acts.schedules.versions[run.schedule - 1]
    listed = None if run.elimination is None else acts.eliminations.known[run.elimination]
    of_class = Counter(each.klass for each in run.going)
    classes = []
    for name, number in sorted(of_class.items()):
        klass = version.schedule.klass(name)
        terms = {"minimum": klass.minimum, "maximum": klass.maximum, "starts_with": str(klass.start)}
        classes.append({"class": name, "article": klass.article, "captures": number, **terms})
    return {
        "version": 1,
        "disposition": run.id,
        "owner": owner,
        "schedule_version": run.schedule,
        "approval": run.approval,
        "decided_at": run.at,
        "captures": len(run.going),
        "classes": classes,
        **({} if listed is None else {"visa": _visa(listed, acts)}),
        "places": [{"log": each.log, "seq": each.seq} for each in run.going],
        "made_unreadable_on": run.unreadable,
        "ciphertext_deleted_on": run.deleted,
        **_exports(run),
        "said_at": run.done,
    }


def _exports(run: Disposition) -> dict[str, Any]:
    """That no finished export of the archive's own held any of it; nothing, where nobody has looked."""
    return {"finished_exports_gone": True} if run.exports_gone else {}


def _visa(listed: Elimination, acts: Acts) -> dict[str, Any]:
    """The visa that public archives went under (Code du patrimoine, article R212-14)."""
    visa = listed.visa
    if visa is None:
        return {"list": listed.id}  # no run begins so: acts of another writer
    document = acts.orders.documents.get(str(visa.document))
    said = {"reference": visa.reference, "issuer": visa.issuer, "dated": visa.dated}
    digest = None if document is None else document.sha256
    return {"list": listed.id, "list_sha256": listed.sha256, **said, "document_sha256": digest}
