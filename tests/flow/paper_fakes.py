"""What is set on paper, whole enough to be set: one of each kind."""

from typing import Any

TIME = "2026-03-01T12:00:00.000000Z"
NOTE = "archive-service/made-up\n1\nAAAA\n\n— archive AAAA\n"


def _signed(said: dict[str, Any], name: str = "certificate") -> dict[str, Any]:
    proof = {"entry_of": "act", "log": "o/acts", "inclusion": {"index": 7, "tree_size": 9, "hashes": []}}
    return {name: said, "note": NOTE, "keys": {"log": [], "root": []}, "proofs": [proof]}


def _destroyed(**more: Any) -> dict[str, Any]:
    times = ("decided_at", "made_unreadable_on", "ciphertext_deleted_on", "said_at")
    return {"version": 1, "owner": "o", "approval": "p", "captures": 1, **dict.fromkeys(times, TIME), **more}


def disposition_certificate(disposition: str) -> dict[str, Any]:
    """As ``Dispositions.certificate``."""
    klass = {"class": "short", "article": "art. 5", "captures": 1, "maximum": "P1Y", "starts_with": "capture"}
    return _signed(_destroyed(disposition=disposition, schedule_version=1, classes=[klass]))


def order_certificate(order: str) -> dict[str, Any]:
    """As ``Orders.certificate``."""
    words = {"reference": "RG 7", "issuer": "TJ", "dated": "2026-02-01", "document_sha256": None}
    return _signed(_destroyed(order=order, **words))


def event_certificate(event: str) -> dict[str, Any]:
    """As ``EventJournal.certificate``."""
    facts = {"object": {"size": 7, "sha256": "0" * 64}, "open": True}
    said = {"event": event, "kind": "deposit", "what": "capture", "owner": "o", "time": TIME}
    return _signed(said | {"entry_sha256": "0" * 64, "facts": facts})


def yearly_pack(year: int) -> dict[str, Any]:
    """As ``YearlyPack.make``."""
    none: dict[str, Any] = {"captures": 0, "bytes": 0}
    pack: dict[str, Any] = {
        "year": year,
        "year_over": True,
        "owner": "o",
        **dict.fromkeys(("from", "to", "made_at"), TIME),
        "rights": {
            **{name: [] for name in ("in_force", "unused", "not_looked_at", "to_withdraw", "break_glass")},
            "uses_complete": True,
            "uses_looked_back_to": TIME,
        },
        "holds": {"in_force": [], "overdue": [], "placed": 0, "released": [], "orders_to_keep": 0},
        "disposals": {
            **{name: [] for name in ("dispositions", "orders", "events")},
            **dict.fromkeys(("withdrawn", "keys_destroyed", "objects_deleted"), 0),
            "barred": {},
        },
        "integrity": {"last_verify": None, "logs": [{"log": "acts", "size": 7, "checkpoint": None}]},
        "costs": {
            "before": none,
            "came": none,
            "stands_now": none,
            "classes": [],
            "sources": [],
            "price": None,
        },
    }
    return _signed(pack, "pack")
