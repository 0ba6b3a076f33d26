"""Every alarm: when it is on, how bad that is, and what it means. docs/operations.md says what to do.

An alarm looks at one metric in one of two ways. ``Level``: a value is beyond a threshold now. ``Growth``: a value rose
by so much within a window. ``expression`` says the same in PromQL, for who evaluates alarms in Prometheus instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from archive_service.alarms import names
from archive_service.settings import Settings


class Severity(StrEnum):
    """CRITICAL: a promise is broken, or soon will be. WARNING: somebody should look today."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True)
class Level:
    """On while any series of ``metric`` with these ``labels`` is above, or below, ``threshold``."""

    metric: str
    beyond: Literal[">", "<"]
    threshold: float
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    either_sign: bool = False

    def expression(self) -> str:
        """In PromQL."""
        series = f"{self.metric}{_selector(self.labels)}"
        return f"{f'abs({series})' if self.either_sign else series} {self.beyond} {self.threshold:g}"


@dataclass(frozen=True)
class Growth:
    """On while all series of ``metric`` with these ``labels`` together rose by at least ``by`` within ``window``
    seconds."""

    metric: str
    by: float
    window: float
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def expression(self) -> str:
        """In PromQL."""
        rise = "increase" if names.METRICS[self.metric].kind == "counter" else "delta"
        series = f"{self.metric}{_selector(self.labels)}"
        return f"sum({rise}({series}[{self.window / 60:g}m])) >= {self.by:g}"


def _selector(labels: Mapping[str, tuple[str, ...]]) -> str:
    parts = [f'{name}=~"{"|".join(values)}"' for name, values in sorted(labels.items())]
    return "{" + ",".join(parts) + "}" if parts else ""


@dataclass(frozen=True)
class Alarm:
    """``name`` is stable: receivers may route by it. ``alert`` is its name in a PrometheusRule. ``each``: while it is
    on, it is told again when another series makes it so."""

    name: str
    severity: Severity
    when: tuple[Level | Growth, ...]
    means: str
    each: bool = False

    @property
    def alert(self) -> str:
        """``ArchiveFollowerLag`` for ``follower_lag``."""
        return "Archive" + "".join(word.capitalize() for word in self.name.split("_"))

    def expression(self) -> str:
        """In PromQL."""
        return " or ".join(f"({condition.expression()})" for condition in self.when)


_DAY = 86400.0
_CRITICAL, _WARNING = Severity.CRITICAL, Severity.WARNING
_MOST_SKEW = 300.0  # seconds: beyond that terms cannot be trusted
_OVERLOAD = ("overloaded", "connections", "store_full")
_FAULT = ("internal", "commit_timeout", "not_judged")
_DAMAGE = tuple(
    f"integrity.{what}" for what in ("checkpoint", "commit", "missing", "object", "row", "tampered")
)


def catalogue(settings: Settings) -> tuple[Alarm, ...]:
    """Every alarm, with the thresholds of these settings."""
    return (
        *_of_intake(),
        *_of_sources(),
        *_of_following(settings),
        *_of_evidence(),
        *_of_ledger(settings),
        *_of_stores(settings),
    )


def _of_intake() -> tuple[Alarm, ...]:
    refused = names.SMTP_REFUSED
    return (
        Alarm(
            "mail_refused_overload",
            _WARNING,
            (Growth(refused, 1, 600, {"reason": _OVERLOAD}),),
            "Senders heard 4xx because a bound was reached (memory, connections, disk). They try again.",
        ),
        Alarm(
            "mail_deferred_fault",
            _CRITICAL,
            (Growth(refused, 1, 600, {"reason": _FAULT}),),
            "Senders heard 4xx because of a fault here. They keep the mail and try again, for days at most.",
        ),
        Alarm(
            "orphans_reported",
            _WARNING,
            (Level(names.ORPHANS_REPORTED, ">", 0),),
            "Sealed mails without an entry cannot be chained: no key record, or damaged. No sender got 250 for them.",
        ),
        Alarm(
            "slot_takeover",
            _WARNING,
            (
                Growth(names.SLOT_TAKEOVERS, 1, 3600, {"slot": ("order",)}),
                Growth(names.SLOT_TAKEOVERS, 5, 3600),
            ),
            "Another writer took a log slot: a machine was silent, clocks differ, or two share one name.",
        ),
        Alarm(
            "process_restarts",
            _CRITICAL,
            (Growth(names.PROCESS_RESTARTS, 3, 600),),
            "A process of the service ends again and again.",
        ),
        Alarm(
            "process_silent",
            _CRITICAL,
            (Level(names.PROCESS_SILENT, ">", 60),),
            "A process lives but does not report: it is frozen, or its machine is starved.",
        ),
    )


def _of_sources() -> tuple[Alarm, ...]:
    """One series a source, by its id: the next one that fails is news."""
    return (
        Alarm(
            "source_silent",
            _CRITICAL,
            (Level(names.SOURCE_SILENCE_USED, ">", 1),),
            "A source has sent nothing for longer than is usual: what its server cannot deliver is lost after days.",
            each=True,
        ),
        Alarm(
            "source_slow",
            _WARNING,
            (Level(names.SOURCE_GAP_USED, ">", 1),),
            "A source has sent nearly nothing for hours in which it usually sends. A holiday may look like that.",
            each=True,
        ),
        Alarm(
            "source_lagging",
            _WARNING,
            (Level(names.SOURCE_LAG_USED, ">", 1),),
            "Half of a source's mail comes long after it was sent: it waits in a queue that may give up.",
            each=True,
        ),
        Alarm(
            "canary_missing",
            _CRITICAL,
            (Level(names.CANARY_USED, ">", 1),),
            "A canary has not come back in time: what goes the same way does not arrive.",
            each=True,
        ),
        Alarm(
            "reports_undelivered",
            _CRITICAL,
            (Level(names.SOURCE_UNDELIVERED, ">", 0),),
            "Journal reports came back undelivered in the last 24 hours: others may be lost. These are archived.",
            each=True,
        ),
        Alarm(
            "reconcile_missing",
            _CRITICAL,
            (Level(names.RECONCILED_MISSING, ">", 0),),
            "The last reconciliation named mail that is not in the archive.",
            each=True,
        ),
    )


def _of_following(settings: Settings) -> tuple[Alarm, ...]:
    return (
        Alarm(
            "follower_lag",
            _CRITICAL,
            (
                Level(names.FOLLOWER_LAG_SECONDS, ">", settings.alarm_lag_seconds),
                Level(names.FOLLOWER_LAG_ENTRIES, ">", settings.alarm_lag_entries),
            ),
            "Archived mail is not findable: the follower, the catalog or the index is away or too slow.",
        ),
        Alarm(
            "index_differs",
            _CRITICAL,
            (Level(names.INDEX_DIFFERING, ">", 0),),
            "The index does not hold the messages that the catalog does: searches find too few, or too many.",
        ),
        Alarm(
            "captures_unread",
            _CRITICAL,
            (Level(names.CAPTURES_UNREAD, ">", 0),),
            "Captures cannot be opened: an object or its key is damaged or away. They are tried again every minute.",
        ),
        Alarm(
            "reports_unparsed",
            _WARNING,
            (Growth(names.REPORTS_UNPARSED, 1, _DAY),),
            "Journal reports did not parse. They are archived whole, and their recipients may be incomplete.",
        ),
        Alarm(
            "intake_lock_half",
            _CRITICAL,
            (Level(names.INTAKE_LOCK_USED, ">", 0.5),),
            "A capture is not classified though half of its intake lock is over: without a class nothing extends it.",
        ),
    )


def _of_evidence() -> tuple[Alarm, ...]:
    clamd = {"outcome": ("evidence.clamd_away", "evidence.clamd_broke")}
    return (
        Alarm(
            "malware_found",
            _WARNING,
            (Level(names.MALWARE_FOUND, ">", 0),),
            "Archived mail carries malware. It is kept as it was received, and marked wherever it is shown.",
        ),
        Alarm(
            "scanner_away",
            _WARNING,
            (Growth(names.EVIDENCE_LOOKS, 3, 900, clamd),),
            "clamd does not answer. Mail is archived and found all the same, and scanned when clamd is back.",
        ),
        Alarm(
            "resolver_away",
            _WARNING,
            (Growth(names.EVIDENCE_LOOKS, 3, 900, {"outcome": ("evidence.dns_away",)}),),
            "No resolver answers. Keys of signatures are not recorded meanwhile, and may have rotated when it does.",
        ),
        Alarm(
            "evidence_late",
            _WARNING,
            (Level(names.EVIDENCE_AGE, ">", 3600),),
            "Mail has waited for more than an hour to be scanned, or to have its signatures checked.",
        ),
    )


def _of_ledger(settings: Settings) -> tuple[Alarm, ...]:
    return (
        Alarm(
            "checkpoint_late",
            _WARNING,
            (Level(names.CHECKPOINT_LAG, ">", settings.alarm_checkpoint_seconds),),
            "Entries are not signed: the checkpointer is away, or a log cannot be read.",
        ),
        Alarm(
            "erasure_overdue",
            _CRITICAL,
            (Level(names.ERASURE_OVERDUE, ">", 0),),
            "A key that must go has not gone in time: somebody's right to be forgotten waits.",
        ),
        Alarm(
            "hold_review_overdue",
            _WARNING,
            (Level(names.HOLD_REVIEWS_OVERDUE, ">", 0),),
            "A legal hold should have been reviewed by now: what it keeps must stay justified.",
        ),
        Alarm(
            "break_glass_open",
            _CRITICAL,
            (Level(names.BREAK_GLASS_OPEN, ">", 0),),
            "Somebody acts by break-glass in a role that he does not hold: two people have let him, for minutes.",
        ),
        Alarm(
            "damage_read",
            _CRITICAL,
            (Growth(names.FAILURES, 1, _DAY, {"code": _DAMAGE}),),
            "Something was read that is not what the ledger says. It was not shown, and nothing was destroyed by it.",
        ),
        Alarm(
            "verify_damage",
            _CRITICAL,
            (Level(names.VERIFY_DAMAGE, ">", 0),),
            "The last verify named damage. Keep everything as it is, and read its report.",
        ),
    )


def _of_stores(settings: Settings) -> tuple[Alarm, ...]:
    certificate = settings.alarm_certificate_days * _DAY
    return (
        Alarm(
            "store_unreachable",
            _CRITICAL,
            (Level(names.STORE_OK, "<", 1),),
            "The store does not answer. Senders hear 4xx and keep their mail.",
        ),
        Alarm(
            "clock_offset",
            _CRITICAL,
            (Level(names.CLOCK_OFFSET, ">", _MOST_SKEW, either_sign=True),),
            "The store's clock and ours are more than five minutes apart: terms cannot be trusted.",
        ),
        Alarm(
            "key_service_unreachable",
            _CRITICAL,
            (Level(names.KEY_SERVICE_OK, "<", 1),),
            "The key service does not wrap or open. What starts now cannot open keys.",
        ),
        Alarm(
            "key_place_unreachable",
            _CRITICAL,
            (Level(names.KEY_PLACE_OK, "<", 1),),
            "A key place does not take records: no mail is accepted until it does. Reads use the other place.",
        ),
        Alarm(
            "key_places_differ",
            _CRITICAL,
            (Level(names.KEY_PLACES_DIFFER, ">", 0),),
            "A key record is not the same in both places: one was wiped, restored from a backup, or tampered with.",
        ),
        Alarm(
            "work_disk_full",
            _CRITICAL,
            (Level(names.WORK_FREE, "<", settings.alarm_disk_percent / 100),),
            "The disk under the work folder is nearly full. In an embedded archive mail is refused when it is.",
        ),
        Alarm(
            "certificate_expiring",
            _WARNING,
            (Level(names.CERTIFICATE_LEFT, "<", certificate),),
            "The SMTP endpoint's TLS certificate ends soon: senders that insist on TLS will stop delivering.",
        ),
        Alarm(
            "alarm_channel_failed",
            _WARNING,
            (Growth(names.ALARM_CHANNEL_FAILURES, 3, 3600),),
            "A channel for alarms does not take them: who relies on it hears nothing. The others were told.",
        ),
    )
