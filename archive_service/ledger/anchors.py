"""Anchors: how the root log commits to every checkpoint without telling how many logs there are (FORMAT.md 8)."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Any

from archive_service.ledger.note import Checkpoint

PERIOD = 16
PAD = 4096
MOST = 128  # checkpoints in one entry, so that it stays far below 32 KiB
_ANCHOR = b"archive-service/anchor/v1\x00"
_SALT = b"archive-service/anchor-salt/v1\x00"


def salt_of(key: bytes, note: str) -> bytes:
    """The salt of a checkpoint's anchor, under its owner's root-salt key: nothing to store, gone with the key."""
    return hmac.new(key, _SALT + note.encode(), hashlib.sha256).digest()


def anchor_of(salt: bytes, note: str) -> str:
    """What the root log holds of a checkpoint, in hex."""
    return hashlib.sha256(_ANCHOR + salt + note.encode()).hexdigest()


def now_and_then(every: float, mean: float) -> bool:
    """Whether this run, one of those that come ``every`` so many seconds, is the one in ``mean`` seconds that may be a
    decoy: at no time more likely than at another. Never for a ``mean`` of 0."""
    return mean > 0 and secrets.SystemRandom().random() < every / mean


def padded(anchors: Sequence[str]) -> list[str]:
    """Filled up with random values to a multiple of 16, and sorted."""
    filler = [secrets.token_hex(32) for _ in range(-len(anchors) % PERIOD or (PERIOD if not anchors else 0))]
    return sorted([*anchors, *filler])


def listing(checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    """The sealed list of what an ``anchors`` entry covers; it is sealed padded to a multiple of ``PAD``."""
    rows = [
        {
            "log": point.origin,
            "size": point.size,
            "note_sha256": hashlib.sha256(point.note.encode()).hexdigest(),
        }
        for point in checkpoints
    ]
    return {"version": 1, "checkpoints": rows}
