"""An item of Outlook, however it came (winmail.dat, .msg): what of it has words, and the properties that hold them."""

from dataclasses import dataclass, field

from ingest.mime.charsets import codec_for

# Property identifiers ([MS-OXPROPS]) and types ([MS-OXCDATA] section 2.11.1).
SUBJECT, BODY, RTF, HTML, HTML_CODE_PAGE = 0x0037, 0x1000, 0x1009, 0x1013, 0x3FDE
SENDER, TO, CC, CODE_PAGE = 0x0C1A, 0x0E04, 0x0E03, 0x3FFD
DATA, SHORT_NAME, LONG_NAME, KIND = 0x3701, 0x3704, 0x3707, 0x370E
TEXT8, TEXT16, OBJECT, BINARY, LONG, TIME = 0x1E, 0x1F, 0x0D, 0x102, 0x03, 0x40
_CHARSETS = {65001: "utf-8", 20127: "us-ascii", 28591: "iso-8859-1", 50220: "iso-2022-jp", 51932: "euc-jp"}


@dataclass(slots=True)
class OutlookFile:
    """An attached file; with ``message`` its data is an envelope like the one around it, with ``item`` it is a message
    that has been read."""

    name: str = ""
    kind: str = ""
    data: bytes = b""
    message: bool = False
    item: "OutlookItem | None" = None


@dataclass(slots=True)
class OutlookItem:
    """A message. ``html`` is still in ``html_charset``, ``rtf`` still compressed."""

    subject: str = ""
    people: list[str] = field(default_factory=list)  # sender, recipients, as shown
    text: str = ""
    html: bytes = b""
    html_charset: str | None = None
    rtf: bytes = b""
    files: list[OutlookFile] = field(default_factory=list)
    complete: bool = True


def charset_of(code_page: int) -> str | None:
    """The charset of a Windows code page, if there is one."""
    name = _CHARSETS.get(code_page, f"cp{code_page}")
    return name if codec_for(name) is not None else None
