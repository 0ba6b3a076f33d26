"""One family of errors. Each has a stable ``code`` and a message that is safe to show and to log.

A message never holds a secret, an address, a subject or a body: it may reach a log. HTTP maps a code
to a problem document (RFC 9457) in ``api/problems.py``; SMTP maps every one of them to 4xx in
``ingest/smtp/replies.py``, because an internal fault must never lose mail.
"""


class ArchiveError(Exception):
    """Base of all errors that the archive raises on purpose."""

    code = "internal"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class StoreError(ArchiveError):
    """A store did not do what was asked; whether it took effect is unknown unless a subclass says."""

    code = "store.failed"


class StoreFull(StoreError):
    """No space or quota left (ENOSPC, EDQUOT). Nothing was acknowledged."""

    code = "store.full"


class StoreDenied(StoreError):
    """The store refuses us: unwritable folder, wrong owner or credentials."""

    code = "store.denied"


class AlreadyExists(StoreError):
    """An exclusive create lost: the name is taken. Nothing of ours was written under it."""

    code = "store.exists"


class NotFound(StoreError):
    """No such object, version or record."""

    code = "store.not_found"


class Locked(StoreError):
    """The object is under a lock or hold; deleting it or shortening its term is refused."""

    code = "store.locked"


class Tampered(ArchiveError):
    """What was read is not what the ledger says was written. An alarm, and never content."""

    code = "integrity.tampered"


class KeyUnavailable(ArchiveError):
    """A key record or key generation cannot be had: destroyed, missing or not decryptable."""

    code = "key.unavailable"


class SlotLost(ArchiveError):
    """Another writer has claimed this log slot; all in flight answer 4xx and the slot is abandoned."""

    code = "ledger.slot_lost"


class Invalid(ArchiveError):
    """Bad input: a name, a setting, a document that does not follow its format."""

    code = "input.invalid"


class Refused(ArchiveError):
    """Well-formed, but the archive's state says no: a name that is taken, a second of what there is one of."""

    code = "refused"


class Overloaded(ArchiveError):
    """A bound (memory in flight, queue) is reached; the caller may retry."""

    code = "overloaded"


class Denied(ArchiveError):
    """The policy says no. ``code`` says why: ``auth.required`` (401) or ``auth.forbidden`` (403)."""

    code = "auth.forbidden"


class QueryError(ArchiveError):
    """A query does not parse. ``position`` is a 0-based character offset into the query."""

    code = "query.syntax"

    def __init__(self, message: str, position: int, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.position = position


class ParseFailed(ArchiveError):
    """A mail or journal report broke its parser; the capture stays archived and is flagged."""

    code = "parse.failed"


class LookerAway(ArchiveError):
    """What looks at captures after their ``250`` is away as a whole: nothing was learned of this one, and the next
    would fare no better. ``code`` begins with ``evidence.``."""

    code = "evidence.away"
