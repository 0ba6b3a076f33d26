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


class Gone(ArchiveError):
    """It was there and is no more (410)."""

    code = "gone"


class Unavailable(ArchiveError):
    """Not now; the caller may try again (503)."""

    code = "unavailable"


class UntracedAnswer(ArchiveError):
    """A route was about to answer without an access entry. A fault of ours; the answer is withheld."""

    code = "access_log.missing"
