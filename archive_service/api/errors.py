"""Errors that only the HTTP API raises; ``problems.py`` gives each its status."""

from archive_service.model.errors import ArchiveError, NotFound


class NoSuchThing(NotFound):
    """An id that names nothing this caller may see: unknown, malformed and another tenant's alike."""

    code = "not_found"

    def __init__(self) -> None:
        super().__init__("no such thing")


class BadRequest(ArchiveError):
    """The request is understood and cannot be done as written (422)."""

    code = "request.invalid"


class Conflict(ArchiveError):
    """Not in the present state (409)."""

    code = "conflict"


class PreconditionFailed(ArchiveError):
    """It is no longer as the caller has read it (412, RFC 9110 section 15.5.13)."""

    code = "precondition.failed"


class PreconditionRequired(ArchiveError):
    """A change without saying what it changes could undo another's (428, RFC 6585 section 3)."""

    code = "precondition.required"


class Gone(ArchiveError):
    """It was there and is no more (410)."""

    code = "gone"


class Unavailable(ArchiveError):
    """Not now; the caller may try again (503)."""

    code = "unavailable"


class UntracedAnswer(ArchiveError):
    """A route was about to answer without an access entry. A fault of ours; the answer is withheld."""

    code = "access_log.missing"


class TooMany(ArchiveError):
    """More requests than this actor's rate allows (429). ``seconds``: until there is room again."""

    code = "rate.exceeded"

    def __init__(self, seconds: int) -> None:
        super().__init__("too many requests")
        self.seconds = seconds
