"""Where a message says it comes from: its signatures, checked in the cage, and the DNS answers that they
rested on."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Protocol

from archive_service.catalog.looks import Subject
from archive_service.model.clock import Clock, rfc3339
from archive_service.model.errors import LookerAway, ParseFailed
from archive_service.model.evidence import DnsAnswer, Evidence, Look, Origin
from archive_service.model.mail import SourceKind
from ingest.evidence.authentication import MOST_NAMES
from ingest.evidence.dns import Dns

_ATTEMPTS = 5
_PAUSES = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
_PASSING = ("NOERROR", "NXDOMAIN", "BAD_NAME", "TOO_LARGE")
_SLOW = 6  # names that were not answered, after which no more are asked for: each costs its whole time


class Cage(Protocol):
    """Reads hostile headers somewhere safe."""

    def origin(
        self, inner: bytes, mail_from: str, known: Mapping[str, DnsAnswer]
    ) -> tuple[Origin, list[str]]:
        """See ``authentication.examine``. Raises ParseFailed, with ``parse.closed`` or ``parse.worker`` when
        that says nothing of this mail."""
        ...


class KindOf(Protocol):
    """Which kind of system a source is."""

    def __call__(self, source: str) -> SourceKind | None:
        """None for a source that is not known."""
        ...


class OriginLooker:
    """Implements ``Looker``. ``program``: what looks, with its version. ``direct``: sources of these kinds
    hand a copy on under the reverse-path that the sender gave; of the others it is the journal's own."""

    look = Look.ORIGIN

    def __init__(
        self,
        dns: Dns,
        cage: Cage,
        clock: Clock,
        *,
        program: str,
        kind_of: KindOf,
        direct: frozenset[SourceKind] = frozenset({SourceKind.POSTFIX}),
    ) -> None:
        self._dns = dns
        self._cage = cage
        self._clock = clock
        self._program = program
        self._kind_of = kind_of
        self._direct = direct

    def at(self, subject: Subject) -> Evidence:
        """See ``Looker``."""
        origin, answers = self._looked(subject)
        now = self._clock()
        passing = any(answer.rcode not in _PASSING for answer in answers)
        again = passing and subject.attempt < _ATTEMPTS
        wait = _PAUSES[min(subject.attempt, len(_PAUSES)) - 1]
        return Evidence(
            capture=subject.row.id,
            look=self.look,
            at=rfc3339(now),
            program=self._program,
            attempt=subject.attempt,
            again=rfc3339(now + wait) if again else None,
            origin=origin,
            dns=tuple(answers),
        )

    def _looked(self, subject: Subject) -> tuple[Origin, list[DnsAnswer]]:
        """Once to learn which names are wanted, once more with the answers."""
        parsed, record = subject.row.finding.parsed, subject.record
        inner = subject.raw[parsed.inner_start : parsed.inner_end]
        whole = (parsed.inner_start, parsed.inner_end) == (0, len(subject.raw))
        kind = self._kind_of(subject.row.finding.source)
        mail_from = record.mail_from if whole and kind in self._direct and record.channel == "smtp" else ""
        try:
            origin, wanted = self._cage.origin(inner, mail_from, {})
            answers = self._asked(wanted)
            if wanted:
                origin, _ = self._cage.origin(inner, mail_from, answers)
        except ParseFailed as error:
            if error.code in ("parse.closed", "parse.worker"):
                raise LookerAway("the parser is away", code="evidence.parser_away") from error
            return Origin(unexamined=error.code), []
        return origin, list(answers.values())

    def _asked(self, wanted: list[str]) -> dict[str, DnsAnswer]:
        """Names that are not asked for any more count as not answered. Raises LookerAway."""
        found: dict[str, DnsAnswer] = {}
        slow = 0
        for name in wanted[:MOST_NAMES]:
            if slow >= _SLOW:
                found[name] = DnsAnswer(name=name, rcode="TIMEOUT", at=rfc3339(self._clock()))
                continue
            found[name] = self._dns.txt(name)
            slow += found[name].rcode not in _PASSING
        return found
