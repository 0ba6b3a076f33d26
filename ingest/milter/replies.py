"""Every answer of the milter: go on, or try again later. It never rejects and never discards: a mail that the archive
does not take stays with its sender.

The MTA hands the text on to the SMTP client, so that it stands in both logs. None repeats an address.
"""

from ingest.guard import Lack
from ingest.milter.packets import CONTINUE, REPLY_CODE, TEMPFAIL, packed
from ingest.smtp.replies import Reply, make

GO_ON = packed(CONTINUE)

SOURCE_UNNAMED = make(451, "4.7.1", "archive: no source is named here", reason="source_unnamed")
SOURCE_UNKNOWN = make(451, "4.7.1", "archive: source not known", reason="source_unknown")
SOURCE_KIND = make(451, "4.7.1", "archive: not a source for a milter", reason="source_kind")
SOURCE_GUARD = make(
    451, "4.7.1", "archive: the source asks for more than a milter has", reason="source_guard"
)
OVERSIZED = make(452, "4.3.4", "archive: message larger than the limit", reason="oversized")
NOT_UNDERSTOOD = make(451, "4.5.2", "archive: the milter protocol was not kept", reason="protocol")

LACKING = {
    Lack.NETWORK: SOURCE_UNKNOWN,  # not a word more than a stranger hears
    Lack.TLS: SOURCE_GUARD,
    Lack.CERTIFICATE: SOURCE_GUARD,
    Lack.LOGIN: SOURCE_GUARD,
    Lack.SIZE: OVERSIZED,
}


def packet(reply: Reply) -> bytes:
    """A refusal as it goes to the MTA: its 45x with its words, or, for anything else, a bare "try again later"."""
    if reply.wire.startswith(b"45"):
        return packed(REPLY_CODE, reply.wire.rstrip(b"\r\n") + b"\0")
    return packed(TEMPFAIL)
