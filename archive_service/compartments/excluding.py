"""Exclusion lists at work: what was never to be archived is withdrawn once it is known, before it is projected."""

import logging
from collections.abc import Callable
from functools import partial

from archive_service.access.four_eyes import LIFE
from archive_service.bootstrap import Core, Tenant
from archive_service.compartments.carrying import Carried, Terms
from archive_service.compartments.parties import authors, parties, placed
from archive_service.compartments.resealing import Moving, Resealer
from archive_service.ledger.exclusions import ExclusionList
from archive_service.model.clock import rfc3339
from archive_service.model.mail import CaptureRecord, Parsed, SourceKind
from archive_service.vault.key_layout import LogId
from retention.erasure import Capture, withdraw
from retention.exclusion import Excluded, judge

_log = logging.getLogger(__name__)
_BY = "exclusion list"


class _Gone(Exception):
    """Somebody else has withdrawn it."""


class Excluding:
    """See ``search.orderer.Exclude``."""

    def __init__(self, core: Core, tenant: Tenant) -> None:
        self._core = core
        self._tenant = tenant

    def __call__(
        self, place: tuple[LogId, int], raw: bytes, record: CaptureRecord, parsed: Parsed
    ) -> Callable[[], None] | None:
        """By the lists that are for its source, as the acts read so far have them."""
        lists = self._tenant.acts.exclusions.of(record.source)
        judged = self._judge(lists, raw, record, parsed) if lists else None
        if judged is None:
            return None
        return partial(self._withdraw, Capture(*place, record.capture), judged, raw, record)

    def _judge(
        self, lists: list[ExclusionList], raw: bytes, record: CaptureRecord, parsed: Parsed
    ) -> Excluded | None:
        """Before anything goes for good, everybody is asked for whom the header's other fields name. Where no
        envelope says to whom it went (a blind copy to somebody of ours), nothing goes for good: it is sealed."""
        named = parties(record, self._kind(record.source), parsed)
        domains = {domain for each in lists for domain in each.domains}
        judged = judge(placed(named, domains), lists)
        if judged is None or judged.compartment is not None:
            return judged
        judged = judge(placed([*named, *authors(raw, parsed)], domains), lists)
        if judged is None or judged.compartment is not None or parsed.envelope_complete:
            return judged
        return Excluded(min(each.compartment for each in lists))

    def _withdraw(self, capture: Capture, judged: Excluded, raw: bytes, record: CaptureRecord) -> None:
        """First into the compartment, then out of here: cut off between the two, it is taken up there by the next
        try. It has stood under no term here, for it was never to be archived: the compartment's own schedule says."""
        acts = self._tenant.acts
        if acts.erasures.barred(capture.id):
            return
        made = self._sealed(judged.compartment, capture, raw, record)

        def check() -> None:
            if acts.erasures.barred(capture.id):
                raise _Gone
            if made is not None:
                made.require(rfc3339(self._core.clock()))

        try:
            withdraw(acts, capture, _BY, check=check)
        except _Gone:
            return
        _log.info("a capture of %s was withdrawn", capture.log.name)

    def _sealed(
        self, owner: str | None, capture: Capture, raw: bytes, record: CaptureRecord
    ) -> Carried | None:
        """What it is in the compartment, where it is to be in one."""
        resealer = Resealer(self._core, self._tenant.id)
        try:
            if owner is None:
                resealer.leave(capture, _BY)
                return None
            ends = rfc3339(self._core.clock() + LIFE)
            moving = Moving(capture, self._kind(record.source), record, raw, _BY, ends)
            return resealer.into(owner, moving, Terms())
        finally:
            resealer.close()

    def _kind(self, source: str) -> SourceKind:
        known = self._tenant.acts.source(source)
        return known.kind if known is not None else SourceKind.GENERIC
