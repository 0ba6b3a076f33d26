"""Mail as it is, from any system that can send a copy; a journal report here is forged or astray, and stays whole."""

from archive_service.model.mail import CaptureRecord
from ingest.dialects.base import Unwrapped
from ingest.dialects.plain import copy_of, named_by_rcpt, whole
from ingest.mime.scanner import scan_headers


class Generic:
    """Sources that hand over the message itself. Their RCPT is the archive's own address, so that recipients come
    from the message's header and, where the server writes them there, from a sub-address; never complete."""

    name = "generic"

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """The whole capture; ``forged_report`` when its header claims to be a journal report."""
        headers = scan_headers(raw, 0, len(raw))
        return whole(raw, headers, copy_of(headers, named_by_rcpt(record)))
