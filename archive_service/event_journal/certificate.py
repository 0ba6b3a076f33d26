"""The certificate of one event: what the log says of it, and proof that the entries it rests on stand in their log.

No person: who looked is shown to those who may read the access log, and no certificate of an event names him.
"""

import hashlib
from typing import Any

from archive_service.event_journal.events import Event
from archive_service.export.proving import LedgerProofs, checked, inclusion_view, signed
from archive_service.ledger.acts import Acts
from archive_service.model.errors import Tampered

FORMAT = "archive-service/event/v1"


def certify(event: Event, acts: Acts, owner: str, proofs: LedgerProofs) -> dict[str, Any]:
    """``certificate`` is what is certified; ``note`` a signed note of checkpoint form over its canonical JSON (origin
    ``FORMAT/ID``, number of entries proven, SHA-256); ``proofs``: of the entries that it rests on, its own the last.
    Raises Overloaded (``proof.pending``) until a checkpoint covers them, Tampered, StoreError."""
    tenant_key, archive_key = proofs.keys()
    places = [(word, acts.log, seq) for word, seq in _before(event, acts)]
    places.append((event.what, event.log, event.entry.seq))
    proven = [(word, checked(proofs, log, seq)) for word, log, seq in places]
    said = {
        "version": 1,
        "event": event.id,
        "kind": str(event.kind),
        "what": event.what,
        "owner": owner,
        "log": str(event.log),
        "seq": event.entry.seq,
        "time": event.entry.time,
        "entry_sha256": hashlib.sha256(proven[-1][1].entry.line).hexdigest(),
        "facts": dict(event.facts),
    }
    if said["entry_sha256"] != event.entry.digest():
        raise Tampered("an entry is not the one that its checkpoint covers")
    return {
        "certificate": said,
        "note": signed(proofs, f"{FORMAT}/{event.id}", len(proven), said),
        "keys": {"log": [tenant_key], "root": [archive_key]},
        "proofs": [{"entry_of": word, **inclusion_view(proof)} for word, proof in proven],
    }


def _before(event: Event, acts: Acts) -> list[tuple[str, int]]:
    """The acts that an event is the end of, by word and place, in their order: of a disposition its decision and its
    beginning, of keys destroyed the act that said which."""
    found: dict[str, int] = {}
    if event.what == "disposition.done":
        found = acts.dispositions.known[str(event.facts["disposition"])].positions
    elif event.what in ("erasure.done", "erasure.kms"):
        found = acts.erasures.batches[str(event.facts["batch"])].positions
    return sorted(
        ((word, seq) for word, seq in found.items() if seq < event.entry.seq), key=lambda each: each[1]
    )
