"""Mail as it is: no wrapper, no envelope; a journal report here is a forgery or a stray, and stays whole."""

from archive_service.model.mail import CaptureRecord
from ingest.dialects.base import Unwrapped, marked_by_any
from ingest.mime.scanner import scan_headers


class Generic:
    """Sources that hand over the message itself. Their RCPT is the archive's own address, so that recipients
    come from the message's header alone and are never complete."""

    def __init__(self, name: str = "generic") -> None:
        self.name = name

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """The whole capture; ``forged_report`` when its header claims to be a journal report."""
        forged = marked_by_any(scan_headers(raw, 0, len(raw)))
        return Unwrapped(0, len(raw), ("forged_report",) if forged else ())
