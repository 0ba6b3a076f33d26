"""Whose mail was never to be archived: decided once a capture is unwrapped, before anything of it is projected.

Only internal parties count: those with an address in the organisation's own domains. All of them excluded: the capture
is withdrawn. Some of them: it belongs into a sealed compartment, since the others' mail is to be kept, and the
excluded ones' part of it seen by nobody. (Code du travail L4624-8, L2142-6, L2312-8; GDPR article 25.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archive_service.ledger.exclusions import ExclusionList


@dataclass(frozen=True)
class Excluded:
    """What is to be done: into a compartment (an owner id) first, or, where that is None, nothing but withdrawal."""

    compartment: str | None


def judge(parties: Iterable[str], lists: Sequence[ExclusionList]) -> Excluded | None:
    """What the lists say of a message between these addresses; None: it is archived as any other."""
    domains = {domain for each in lists for domain in each.domains}
    internal = {party for party in map(_bare, parties) if party.rpartition("@")[2] in domains}
    excluded = {party: each for each in lists for party in internal & each.addresses}
    if not excluded:
        return None
    if internal <= excluded.keys():
        return Excluded(None)
    # lists may name several compartments: the same one for the same parties, whatever their order
    return Excluded(min(each.compartment for each in excluded.values()))


def _bare(address: str) -> str:
    """Lower case, and without the part of the local part that only its owner gives a meaning (RFC 5233)."""
    local, at, domain = address.strip().lower().rpartition("@")
    return f"{local.partition('+')[0]}{at}{domain}"
