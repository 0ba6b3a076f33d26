"""Elimination of public archives: the archive draws up the list, the State's scientific and technical control gives its
visa for it, and only what such a list names may go (Code du patrimoine, articles L212-2 and R212-14)."""

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from archive_service.ledger.acts import Acts
from archive_service.ledger.dispositions import Leaving
from archive_service.ledger.eliminations import Elimination
from archive_service.model.clock import Clock, require_day_gone_by, rfc3339
from archive_service.model.errors import Invalid, NotFound, Refused


def digest_of(captures: Iterable[str]) -> str:
    """SHA-256 over the sorted ids, a line feed after each."""
    return hashlib.sha256("".join(f"{each}\n" for each in sorted(captures)).encode("ascii")).hexdigest()


def draw(acts: Acts, found: Sequence[Leaving], schedule: int, by: str, clock: Clock) -> tuple[str, int]:
    """Draw up a list of what may go; its id, and the acts-log position that has passed it; durable on return. Raises
    Refused (``disposition.nothing``)."""
    if not found:
        raise Refused("nothing is past its maximum, or all of it is kept", code="disposition.nothing")
    name = "v" + secrets.token_hex(8)
    captures = sorted(each.id for each in found)
    classes = dict(sorted(Counter(each.klass for each in found).items()))
    said = {"captures": captures, "classes": classes, "sha256": digest_of(captures), "schedule": schedule}

    def act(_: object) -> dict[str, Any]:
        fields = {"elimination": name, **said, "by": by, "at": rfc3339(clock())}
        return {"version": 1, "act": "elimination.draw", **fields}

    return name, acts.append(act) + 1


def record_visa(acts: Acts, elimination: str, words: dict[str, Any], by: str, clock: Clock) -> int:
    """Say that a list has its visa; the acts-log position that has passed it. ``words``: reference, issuer, dated,
    document (an id, or None), and sha256, the digest of the list that the visa is for. Raises NotFound, Invalid
    (``visa.invalid``), Refused (``visa.other_list``, ``visa.given``)."""
    _require_sense(words, clock)

    def act(_: object) -> dict[str, Any]:
        known = require_known(acts, elimination)
        if known.visa is not None:
            raise Refused("this list has its visa", code="visa.given")
        if words["sha256"] != known.sha256:
            raise Refused("the visa is for another list: its digest differs", code="visa.other_list")
        said = {name: value for name, value in words.items() if value is not None}
        if "document" in said and said["document"] not in acts.orders.documents:
            raise NotFound("no such document", code="order.document_unknown")
        fields = {"elimination": elimination, **said, "by": by, "at": rfc3339(clock())}
        return {"version": 1, "act": "elimination.visa", **fields}

    return acts.append(act) + 1


def require_visa(acts: Acts, elimination: str | None) -> Elimination:
    """The list that a run of public archives goes by. Raises Refused (``disposition.no_visa``), NotFound."""
    if elimination is None:
        detail = "public archives go by a list with a visa (Code du patrimoine, R212-14)"
        raise Refused(detail, code="disposition.no_visa")
    known = require_known(acts, elimination)
    if known.visa is None:
        raise Refused("this list has no visa yet (Code du patrimoine, R212-14)", code="disposition.no_visa")
    return known


def require_known(acts: Acts, elimination: str) -> Elimination:
    """Raises NotFound (``elimination.unknown``)."""
    known = acts.eliminations.known.get(elimination)
    if known is None:
        raise NotFound("no such list", code="elimination.unknown")
    return known


def _require_sense(words: dict[str, Any], clock: Clock) -> None:
    if not all(str(words.get(name) or "").strip() for name in ("reference", "issuer", "sha256")):
        raise Invalid("a visa has a reference, an issuer, and the digest of its list", code="visa.invalid")
    try:
        require_day_gone_by(str(words.get("dated")), clock())
    except ValueError as error:
        detail = "a visa is dated by a day, YYYY-MM-DD, that is not to come"
        raise Invalid(detail, code="visa.invalid") from error
