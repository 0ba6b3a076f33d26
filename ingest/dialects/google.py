"""Google Workspace: the message itself, one copy a recipient of incoming mail, by third-party archiving or routing."""

from archive_service.model.mail import CaptureRecord
from ingest.dialects.base import Unwrapped
from ingest.dialects.plain import copy_of, whole
from ingest.dialects.recipients import addresses_in
from ingest.mime.scanner import scan_headers


class Google:
    """Gmail writes no report. A routing rule may add ``X-Gm-Original-To``: whom this copy was for. Of several such
    fields the topmost is believed, for the last who handled a message writes above what came with it; the others
    are kept without claim and the capture is flagged ``envelope_ambiguous``, for the sender may have written them."""

    name = "google"

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """The whole capture, with the recipient whom its routing field names; never complete."""
        headers = scan_headers(raw, 0, len(raw))
        named = [addresses_in(value) for value in headers.all("x-gm-original-to")]
        others = [address for one in named[1:] if one != named[0] for address in one]
        flags = ("envelope_ambiguous",) if others else ()
        return whole(raw, headers, copy_of(headers, named[0] if named else (), others), *flags)
