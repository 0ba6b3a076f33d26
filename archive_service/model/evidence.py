"""What was looked at after the ``250``: malware, signatures, and the DNS answers that a result rested on.

Evidence says what was seen, by what, when. It changes nothing of a capture, and a capture may have several: a
later look does not replace an earlier one, for keys rotate and signatures of malware come late.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

from archive_service.model.mail import Frozen


class Look(StrEnum):
    """What a look is about."""

    MALWARE = "malware"
    ORIGIN = "origin"


class DnsAnswer(Frozen):
    """One question to the DNS and what came back. ``records``: the answer section as lines of a zone file
    (RFC 1035 section 5.1), aliases and signatures (RRSIG) included. ``rcode``: the answer's own (RFC 6895),
    else ``TIMEOUT``, ``BAD_NAME``, ``BAD_ANSWER`` or ``TOO_LARGE``. ``authenticated``: the resolver says that
    it has validated (the AD bit, RFC 4035 section 3.2.3). ``resolver``: its address and port. ``ttl``: the
    smallest of the records, seconds."""

    name: str
    type: str = "TXT"
    rcode: str
    records: tuple[str, ...] = ()
    ttl: int | None = None
    authenticated: bool = False
    resolver: str | None = None
    at: str


class Malware(Frozen):
    """``clean``: the scanner knew nothing bad of it. ``found``: ``name`` is the scanner's. ``too_large``:
    more bytes than it takes, ``limit`` where that is ours to know. ``incomplete``: it stopped inside at a
    limit of its own, ``name`` says which. ``failed``: it gave up, ``reason`` says why. ``size``: bytes of the
    capture as received, which is what it was given."""

    result: Literal["clean", "found", "too_large", "incomplete", "failed"]
    size: int
    name: str | None = None
    limit: int | None = None
    reason: str | None = None


class Signature(Frozen):
    """One DKIM-Signature (RFC 6376), from the top of the header. ``result`` in the words of RFC 8601 section
    2.7.1. ``body_limit``: ``l=``, so many bytes of the body are signed and no more. ``aligned``: the signing
    domain is the one of From (``same``), a parent or child of it (``related``; no list of public suffixes is
    asked), or neither (``no``). ``key``: the question to the DNS, among ``Evidence.dns``."""

    result: Literal["pass", "fail", "permerror", "temperror"]
    reason: str | None = None
    domain: str | None = None
    selector: str | None = None
    identity: str | None = None
    algorithm: str | None = None
    canonicalization: str | None = None
    signed: tuple[str, ...] = ()
    body_limit: int | None = None
    time: str | None = None
    expires: str | None = None
    aligned: Literal["same", "related", "no"] = "no"
    key: str | None = None


class ArcSet(Frozen):
    """One instance of an ARC chain (RFC 8617). ``seal`` and ``message``: whether these signatures verify.
    Keys as in ``Signature``."""

    instance: int
    chain: str | None = None
    seal: bool = False
    message: bool = False
    seal_key: str | None = None
    message_key: str | None = None


class Arc(Frozen):
    """``result``: the chain as a whole (RFC 8617 section 5.2); ``temperror`` when a key could not be asked
    for."""

    result: Literal["none", "pass", "fail", "temperror"]
    reason: str | None = None
    sets: tuple[ArcSet, ...] = ()


class Spf(Frozen):
    """What an SPF check (RFC 7208) would begin with. It is never evaluated here: the archive's peer is the
    customer's own server, and which address the sender had only that server knows. ``domain``: of the
    reverse-path; ``known_from``: ``envelope`` of the SMTP transaction, or the ``return-path`` field, which
    anybody may have written. ``record``: the question to the DNS for its policy."""

    result: Literal["not_evaluated"] = "not_evaluated"
    domain: str | None = None
    known_from: Literal["envelope", "return-path"] | None = None
    record: str | None = None


class Claim(Frozen):
    """A field in which some server says what it had checked (Authentication-Results, RFC 8601; Received-SPF,
    RFC 7208 section 9.1), verbatim, unfolded, from the top. Claimed, not verified."""

    field: str
    value: str


class Origin(Frozen):
    """What the inner message's signatures say. ``unexamined``: why it was not looked at, then nothing else is
    there. ``line_ends``: ``as_received``, or ``made_crlf``: lines ended otherwise than signatures are made
    over, and were read as if they ended in CRLF. ``more_signatures``: how many were not looked at.
    ``from_domain``: of the From field. ``policy``: the question to the DNS for that domain's DMARC policy
    (RFC 7489 section 6.6.3), itself not applied."""

    unexamined: str | None = None
    line_ends: Literal["as_received", "made_crlf"] = "as_received"
    from_domain: str | None = None
    dkim: tuple[Signature, ...] = ()
    more_signatures: int = 0
    arc: Arc = Arc(result="none")
    spf: Spf = Spf()
    policy: str | None = None
    claims: tuple[Claim, ...] = ()


class Evidence(Frozen):
    """One look at one capture. ``program``: what looked, with its version and that of its signatures.
    ``attempt``: from 1, among the looks of this kind. ``again``: when it is to be looked at once more (RFC
    3339, 27 characters), because something passing stood in the way or signatures come late; None: never."""

    version: int = 1
    capture: str
    look: Look
    at: str
    program: str
    attempt: int = 1
    again: str | None = None
    malware: Malware | None = None
    origin: Origin | None = None
    dns: tuple[DnsAnswer, ...] = ()

    def summary(self) -> "Evidence":
        """Without what only a proof needs: the answers of the DNS and the claims of others."""
        origin = self.origin and self.origin.model_copy(update={"claims": ()})
        return self.model_copy(update={"dns": (), "origin": origin})

    @property
    def mark(self) -> str | None:
        """The name of the malware that was found."""
        return self.malware.name if self.malware is not None and self.malware.result == "found" else None


def marks(looks: Iterable[Evidence]) -> list[str]:
    """The names of all malware that any look has found, first seen first: a mark is never taken back."""
    return list(dict.fromkeys(each.mark for each in looks if each.mark is not None))
