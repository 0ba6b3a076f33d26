"""Journal dialects: a file a system, chosen by the source's kind alone."""

from archive_service.model.mail import SourceKind
from ingest.dialects.base import Dialect, Envelope, Unwrapped
from ingest.dialects.bluemind import BlueMind
from ingest.dialects.domino import Domino
from ingest.dialects.exchange import Exchange
from ingest.dialects.generic import Generic
from ingest.dialects.google import Google
from ingest.dialects.m365 import Microsoft365
from ingest.dialects.postfix import Postfix
from ingest.dialects.zimbra import Zimbra

__all__ = ["Dialect", "Envelope", "Unwrapped", "dialect_for"]

_DIALECTS: dict[SourceKind, Dialect] = {
    SourceKind.EXCHANGE: Exchange(),
    SourceKind.M365: Microsoft365(),
    SourceKind.GOOGLE: Google(),
    SourceKind.DOMINO: Domino(),
    SourceKind.ZIMBRA: Zimbra(),
    SourceKind.BLUEMIND: BlueMind(),
    SourceKind.POSTFIX: Postfix(),
    SourceKind.GENERIC: Generic(),
}


def dialect_for(kind: SourceKind) -> Dialect:
    """The dialect of a source's kind; never chosen by what a mail says of itself."""
    return _DIALECTS[kind]
