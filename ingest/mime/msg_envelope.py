"""Who wrote a .msg file's message, to whom, when: its properties ([MS-OXPROPS]), and the header that it came with.

Outlook keeps the header of what it received (PidTagTransportMessageHeaders), and none of what it sent. Addresses
inside an Exchange organisation may be directory names ("/O=.../CN=..."): they are given as they stand.
"""

from dataclasses import dataclass

from archive_service.model.mail import Recipient, Role
from ingest.mime import msg_properties as properties
from ingest.mime.addresses import parse_addresses
from ingest.mime.compound import Storage

_CLASS, _SUBMITTED, _DELIVERED, _FLAGS = 0x001A, 0x0039, 0x0E06, 0x0E07
_MESSAGE_ID, _HEADERS = 0x1035, 0x007D
_RECIPIENT_TYPE, _ADDRESS, _NAME, _SMTP_ADDRESS = 0x0C15, 0x3003, 0x3001, 0x39FE
_AUTHOR = (0x5D02, 0x0065, 0x0042)  # sent representing: SMTP address, address, name
_SENDER = (0x5D01, 0x0C1F, 0x0C1A)
_UNSENT = 0x08  # [MS-OXCMSG] section 2.2.1.6
_ROLES = {1: Role.TO, 2: Role.CC, 3: Role.BCC}  # [MS-OXOMSG] section 2.2.3.1; above the four bits are flags
_SHOWN = ((0x0E04, Role.TO), (0x0E03, Role.CC), (0x0E02, Role.BCC))
_HEADER_MARK = "Microsoft Mail Internet Headers Version"
_MOST_RECIPIENTS = 100_000


@dataclass(frozen=True, slots=True)
class MsgEnvelope:
    """``author`` and ``sender``: address and name as far as they are there; ``sender`` is who sent for ``author``.
    ``headers``: as the message came, in UTF-8 with CRLF; empty for what was never received. ``unsent``: a draft."""

    message_class: str
    author: tuple[str, str]
    sender: tuple[str, str]
    recipients: tuple[Recipient, ...]
    submitted_at: str | None  # RFC 3339 UTC
    delivered_at: str | None
    message_id: str
    headers: bytes
    unsent: bool


def read_envelope(root: Storage) -> MsgEnvelope:
    """Of a .msg file's root storage. Never raises for what it contains."""
    numbers, times = properties.numbers(root), properties.times(root)
    charset = properties.charset(numbers, None)
    texts = properties.texts(root, charset)
    return MsgEnvelope(
        message_class=texts.get(_CLASS, "").strip().lower(),
        author=_person(texts, _AUTHOR),
        sender=_person(texts, _SENDER),
        recipients=_recipients(root, texts, charset),
        submitted_at=times.get(_SUBMITTED),
        delivered_at=times.get(_DELIVERED),
        message_id=texts.get(_MESSAGE_ID, "").strip(),
        headers=_headers(texts.get(_HEADERS, "")),
        unsent=bool(numbers.get(_FLAGS, 0) & _UNSENT),
    )


def _person(texts: dict[int, str], wanted: tuple[int, int, int]) -> tuple[str, str]:
    smtp, address, name = (texts.get(number, "").strip() for number in wanted)
    return _best(smtp, address, name), name


def _best(*found: str) -> str:
    """The first that is an address as mail has them, else the first that is anything."""
    for text in found:
        if "@" in text:
            return next(iter(parse_addresses(text)), text)
    return next(filter(None, found), "")


def _recipients(root: Storage, texts: dict[int, str], charset: str | None) -> tuple[Recipient, ...]:
    """Of the table of recipients, each address once under its first role; without one, the names that are shown."""
    found: dict[str, Recipient] = {}
    tables = [each for name, each in sorted(root.storages.items()) if name.startswith(properties.RECIPIENTS)]
    for table in tables[:_MOST_RECIPIENTS]:
        said = properties.texts(table, charset)
        address = _best(*(said.get(number, "").strip() for number in (_SMTP_ADDRESS, _ADDRESS, _NAME)))
        role = _ROLES.get(properties.numbers(table).get(_RECIPIENT_TYPE, 0) & 0xF)
        if address and role is not None:  # type 0 is the author
            found.setdefault(address.lower(), Recipient(address=address, role=role))
    if not tables:
        for number, role in _SHOWN:
            for name in filter(None, map(str.strip, texts.get(number, "").split(";"))):
                found.setdefault(_best(name).lower(), Recipient(address=_best(name), role=role))
    return tuple(found.values())


def _headers(text: str) -> bytes:
    """Old servers write a line of their own before the first field."""
    lines = text.splitlines()
    if lines and lines[0].startswith(_HEADER_MARK):
        del lines[0]
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")
