"""Every metric that the service exports, with its type and what it means. A name that is not here cannot be counted.

No label and no value names a person, an address or a tenant in clear: ``owner`` is the opaque owner id that stands in
the names of logs.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """``labels`` beside ``role`` and ``worker``, which say whose report it was where a child process made it."""

    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...] = ()


PROCESS_READY = "archive_process_ready"
PROCESS_RESTARTS = "archive_process_restarts_total"
PROCESS_SILENT = "archive_process_silent_seconds"
FAILURES = "archive_failures_total"
SMTP_CONNECTIONS = "archive_smtp_connections_total"
SMTP_OPEN = "archive_smtp_connections_open"
SMTP_TLS = "archive_smtp_tls_sessions_total"
SMTP_ACCEPTED = "archive_smtp_accepted_total"
SMTP_ACCEPTED_BYTES = "archive_smtp_accepted_bytes_total"
SMTP_ABANDONED = "archive_smtp_abandoned_total"
SMTP_REFUSED = "archive_smtp_refused_total"
SMTP_IN_FLIGHT = "archive_smtp_in_flight_bytes"
SMTP_IN_FLIGHT_LIMIT = "archive_smtp_in_flight_limit_bytes"
CERTIFICATE_LEFT = "archive_certificate_left_seconds"
FOLLOWER_ACTIVE = "archive_follower_active"
SLOT_TAKEOVERS = "archive_slot_takeovers_total"
FOLLOWER_LAG_ENTRIES = "archive_follower_lag_entries"
FOLLOWER_LAG_SECONDS = "archive_follower_lag_seconds"
INDEX_DIFFERING = "archive_index_differing"
CAPTURES_UNREAD = "archive_captures_unread"
REPORTS_UNPARSED = "archive_reports_unparsed"
INTAKE_LOCK_USED = "archive_intake_lock_used_ratio"
CHECKPOINT_LAG = "archive_checkpoint_lag_seconds"
ORPHANS_RECOVERED = "archive_orphans_recovered_total"
ORPHANS_REPORTED = "archive_orphans_reported"
ERASURES_PENDING = "archive_erasures_pending"
ERASURE_OVERDUE = "archive_erasure_overdue_seconds"
HOLD_REVIEWS_OVERDUE = "archive_hold_reviews_overdue"
EVIDENCE_LOOKS = "archive_evidence_looks_total"
EVIDENCE_WAITING = "archive_evidence_waiting"
EVIDENCE_AGE = "archive_evidence_waiting_seconds"
MALWARE_FOUND = "archive_malware_found"
BREAK_GLASS_OPEN = "archive_break_glass_open"
VERIFY_DAMAGE = "archive_verify_damage"
VERIFY_AGE = "archive_verify_age_seconds"
STORE_OK = "archive_store_ok"
CLOCK_OFFSET = "archive_store_clock_offset_seconds"
KEY_SERVICE_OK = "archive_key_service_ok"
KEY_PLACE_OK = "archive_key_place_ok"
KEY_PLACES_DIFFER = "archive_key_places_differing"
WORK_FREE = "archive_work_free_ratio"
SOURCE_STATE = "archive_source_state"
SOURCE_SEEN_AGE = "archive_source_last_seen_seconds"
SOURCE_SILENCE_USED = "archive_source_silence_used_ratio"
SOURCE_HOUR = "archive_source_hour_mails"
SOURCE_HOUR_EXPECTED = "archive_source_hour_expected_mails"
SOURCE_GAP = "archive_source_gap_hours"
SOURCE_GAP_USED = "archive_source_gap_used_ratio"
SOURCE_LAG = "archive_source_lag_seconds"
SOURCE_LAG_USED = "archive_source_lag_used_ratio"
SOURCE_UNDELIVERED = "archive_source_undelivered_day"
CANARY_WAITING = "archive_canary_waiting_seconds"
CANARY_USED = "archive_canary_used_ratio"
CANARY_ROUND = "archive_canary_round_seconds"
CANARY_FAILURES = "archive_canary_failures_total"
RECONCILED_PRESENT = "archive_reconcile_present"
RECONCILED_MISSING = "archive_reconcile_missing"
RECONCILED_EXTRA = "archive_reconcile_extra"
RECONCILED_AGE = "archive_reconcile_age_seconds"
ALARM_ON = "archive_alarm_on"
ALARM_RUN_AGE = "archive_alarm_run_age_seconds"
ALARM_CHANNEL_FAILURES = "archive_alarm_channel_failures_total"
ALARM_CHANNEL_WAITING = "archive_alarm_channel_waiting"

_SOURCE = ("owner", "source")
METRICS: dict[str, Metric] = {
    PROCESS_READY: Metric("gauge", "1 while the process serves, 0 while it starts or is being restarted."),
    PROCESS_RESTARTS: Metric("counter", "How often the parent has started the process again."),
    PROCESS_SILENT: Metric("gauge", "Seconds since the process last reported; it reports every second."),
    FAILURES: Metric("counter", "Steps of a role that failed and are tried again, by error code.", ("code",)),
    SMTP_CONNECTIONS: Metric("counter", "Connections taken, those refused for their number included."),
    SMTP_OPEN: Metric("gauge", "Sessions open now."),
    SMTP_TLS: Metric("counter", "Sessions that completed STARTTLS."),
    SMTP_ACCEPTED: Metric("counter", "Mails answered 250: durable in the archive."),
    SMTP_ACCEPTED_BYTES: Metric("counter", "Bytes of those mails."),
    SMTP_ABANDONED: Metric("counter", "Senders that went away inside a message."),
    SMTP_REFUSED: Metric(
        "counter",
        "Replies 4xx (the sender tries again) and 5xx (policy, or the sender's mistake), by reason.",
        ("class", "reason"),
    ),
    SMTP_IN_FLIGHT: Metric("gauge", "Bytes of mail held in memory."),
    SMTP_IN_FLIGHT_LIMIT: Metric("gauge", "The bound of these bytes: from there on new mail hears 452."),
    CERTIFICATE_LEFT: Metric("gauge", "Seconds until the SMTP endpoint's TLS certificate ends."),
    FOLLOWER_ACTIVE: Metric(
        "gauge", "1 while this process orders the tenant, 0 while it stands by.", ("owner",)
    ),
    SLOT_TAKEOVERS: Metric("counter", "Log slots that another writer took from this process.", ("slot",)),
    FOLLOWER_LAG_ENTRIES: Metric(
        "gauge",
        "Entries not yet taken, by stage: order (capture and acts logs), catalog, index.",
        ("owner", "stage"),
    ),
    FOLLOWER_LAG_SECONDS: Metric("gauge", "Age of the oldest entry not yet taken.", ("owner", "stage")),
    INDEX_DIFFERING: Metric(
        "gauge", "Messages that the index holds and the catalog does not, or the other way round.", ("owner",)
    ),
    CAPTURES_UNREAD: Metric("gauge", "Captures that could not be opened, and are tried again.", ("owner",)),
    REPORTS_UNPARSED: Metric(
        "gauge", "Journal reports that did not parse: archived whole, flagged.", ("owner",)
    ),
    INTAKE_LOCK_USED: Metric(
        "gauge",
        "Of the oldest capture that is not classified: the part of its intake lock that is over.",
        ("owner",),
    ),
    CHECKPOINT_LAG: Metric("gauge", "Age of the oldest entry that no checkpoint signs.", ("owner",)),
    ORPHANS_RECOVERED: Metric("counter", "Sealed mails of dead writers that were chained.", ("owner",)),
    ORPHANS_REPORTED: Metric("gauge", "Sealed mails without entry that cannot be chained.", ("owner",)),
    ERASURES_PENDING: Metric("gauge", "Captures asked to be forgotten whose keys still stand.", ("owner",)),
    ERASURE_OVERDUE: Metric("gauge", "How long a key that may go should have been gone.", ("owner",)),
    HOLD_REVIEWS_OVERDUE: Metric("gauge", "Legal holds whose review is overdue.", ("owner",)),
    EVIDENCE_LOOKS: Metric(
        "counter",
        "Looks at captures after their 250, by kind (malware, origin) and outcome: done, found, or what hindered it.",
        ("look", "outcome"),
    ),
    EVIDENCE_WAITING: Metric(
        "gauge", "Captures that wait to be looked at, by kind of look.", ("owner", "look")
    ),
    EVIDENCE_AGE: Metric("gauge", "How long the capture has waited that waits longest.", ("owner", "look")),
    MALWARE_FOUND: Metric(
        "gauge", "Captures in which malware was found within the last 24 hours.", ("owner",)
    ),
    BREAK_GLASS_OPEN: Metric(
        "gauge",
        "1 for each break-glass grant that is open, by the grant and its end.",
        ("owner", "grant", "until"),
    ),
    VERIFY_DAMAGE: Metric("gauge", "Damages that the last complete verify on this machine named."),
    VERIFY_AGE: Metric("gauge", "Seconds since the last complete verify on this machine."),
    STORE_OK: Metric("gauge", "1 if the store answers."),
    CLOCK_OFFSET: Metric("gauge", "Seconds that the store's clock is ahead of ours."),
    KEY_SERVICE_OK: Metric("gauge", "1 if the key service wraps and opens."),
    KEY_PLACE_OK: Metric("gauge", "1 if the key place takes, gives back and removes a record.", ("place",)),
    KEY_PLACES_DIFFER: Metric("gauge", "Key records looked at that are not the same in both places."),
    WORK_FREE: Metric("gauge", "Free part of the disk under the work folder, 0 to 1."),
    SOURCE_STATE: Metric(
        "gauge",
        "1 for the state that the source is in: waiting (nothing came yet), learning, known, off (not watched).",
        ("owner", "source", "state"),
    ),
    SOURCE_SEEN_AGE: Metric(
        "gauge", "Seconds since mail last came by the source's route, canaries among it.", _SOURCE
    ),
    SOURCE_SILENCE_USED: Metric("gauge", "That, as a part of the silence that is worth an alarm.", _SOURCE),
    SOURCE_HOUR: Metric("gauge", "Mails that came in the last whole hour, without canaries.", _SOURCE),
    SOURCE_HOUR_EXPECTED: Metric(
        "gauge", "Mails that the source's own past has at this hour of the week.", _SOURCE
    ),
    SOURCE_GAP: Metric(
        "gauge", "How many of the last hours had nearly nothing of what they should.", _SOURCE
    ),
    SOURCE_GAP_USED: Metric("gauge", "That, as a part of the gap that is worth an alarm.", _SOURCE),
    SOURCE_LAG: Metric(
        "gauge",
        "Upper bound of the time from sending to receipt, of a half (0.5) and nine tenths (0.9) of the last mails.",
        ("owner", "source", "quantile"),
    ),
    SOURCE_LAG_USED: Metric("gauge", "The half's lag, as a part of the one that is worth an alarm.", _SOURCE),
    SOURCE_UNDELIVERED: Metric(
        "gauge", "Captures of the last 24 hours that came back undelivered before they came here.", _SOURCE
    ),
    CANARY_WAITING: Metric("gauge", "How long the oldest canary under way has been.", _SOURCE),
    CANARY_USED: Metric("gauge", "That, as a part of the time in which it must be back.", _SOURCE),
    CANARY_ROUND: Metric("gauge", "From sending to receipt, of the last canary that came back.", _SOURCE),
    CANARY_FAILURES: Metric(
        "counter", "Attempts to send a canary that the mail server did not take, by error code.", ("code",)
    ),
    RECONCILED_PRESENT: Metric(
        "gauge", "Of the last reconciliation on this machine: listed and here.", _SOURCE
    ),
    RECONCILED_MISSING: Metric("gauge", "Of the same: listed and not here.", _SOURCE),
    RECONCILED_EXTRA: Metric("gauge", "Of the same: here and not listed.", _SOURCE),
    RECONCILED_AGE: Metric("gauge", "Seconds since the last reconciliation on this machine.", _SOURCE),
    ALARM_ON: Metric("gauge", "1 while the alarm is on, by its name.", ("alarm",)),
    ALARM_RUN_AGE: Metric("gauge", "Seconds since the alarms were last evaluated."),
    ALARM_CHANNEL_FAILURES: Metric("counter", "Deliveries to the channel that failed.", ("channel",)),
    ALARM_CHANNEL_WAITING: Metric("gauge", "Notices that the channel has not taken yet.", ("channel",)),
}
