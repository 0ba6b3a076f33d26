"""Messages as Outlook saves them, .msg ([MS-OXMSG]): a compound file with a stream a property."""

from ingest.mime import msg_properties as properties
from ingest.mime import outlook
from ingest.mime.compound import SIGNATURE, Storage, read_compound
from ingest.mime.msg_envelope import MsgEnvelope, read_envelope
from ingest.mime.outlook import OutlookFile, OutlookItem

MOST_INSIDE = 5
"""Messages inside each other that are read."""

_MARK = properties.FIXED.encode("utf-16-le")
_MESSAGE_INSIDE = f"__substg1.0_{outlook.DATA:04X}{outlook.OBJECT:04X}"
_DISPLAY_NAME, _ADDRESS, _SMTP_ADDRESS = 0x3001, 0x3003, 0x39FE


def is_msg(data: bytes) -> bool:
    """Whether this is a .msg file, by its first bytes and the name that each has inside; it may be damaged."""
    return data.startswith(SIGNATURE) and _MARK in data


def read_msg(data: bytes) -> OutlookItem | None:
    """The message in a .msg file; None when it is none. Never raises for what it contains; linear in its size."""
    found = _opened(data)
    return _whole(*found) if found is not None else None


def read_saved(data: bytes) -> tuple[OutlookItem, MsgEnvelope] | None:
    """As ``read_msg``, with what the file says of author, recipients and times."""
    found = _opened(data)
    if found is None:
        return None
    return _whole(*found), read_envelope(found[0])


def _opened(data: bytes) -> tuple[Storage, bool] | None:
    found = read_compound(data)
    return found if found is not None and properties.FIXED in found[0].streams else None


def _whole(root: Storage, complete: bool) -> OutlookItem:
    item = _item(root, 1, None)
    item.complete = item.complete and complete
    return item


def _item(folder: Storage, depth: int, inherited: str | None) -> OutlookItem:
    item = OutlookItem()
    pages = properties.numbers(folder)
    item.html_charset = outlook.charset_of(pages.get(outlook.HTML_CODE_PAGE, 0))
    charset = properties.charset(pages, inherited)
    for number, kind, value in properties.streams(folder):
        if number == outlook.SUBJECT:
            item.subject = properties.text(kind, value, charset)
        elif number == outlook.BODY:
            item.text = properties.text(kind, value, charset)
        elif number == outlook.SENDER:
            item.people.append(properties.text(kind, value, charset))
        elif number == outlook.RTF:
            item.rtf = value
        elif number == outlook.HTML:
            item.html = value
            if kind == outlook.TEXT16:
                item.html, item.html_charset = (
                    properties.text(kind, value, charset).encode("utf-8"),
                    "utf-8",
                )
    for name, inner in folder.storages.items():
        if name.startswith(properties.FILES):
            item.files.append(_file(inner, depth, charset))
        elif name.startswith(properties.RECIPIENTS):
            item.people.append(_recipient(inner, charset))
    item.complete = all(file.item is None or file.item.complete for file in item.files)
    return item


def _file(folder: Storage, depth: int, charset: str | None) -> OutlookFile:
    file = OutlookFile()
    for number, kind, value in properties.streams(folder):
        if number == outlook.LONG_NAME:
            file.name = properties.text(kind, value, charset) or file.name
        elif number in (_DISPLAY_NAME, outlook.SHORT_NAME):
            file.name = file.name or properties.text(kind, value, charset)
        elif number == outlook.KIND:
            file.kind = properties.text(kind, value, charset).strip().lower()
        elif number == outlook.DATA:
            file.data = value
    inside = folder.storages.get(_MESSAGE_INSIDE)
    if inside is not None:
        file.item = _item(inside, depth + 1, charset) if depth < MOST_INSIDE else OutlookItem(complete=False)
    return file


def _recipient(folder: Storage, charset: str | None) -> str:
    """Name and addresses, each once."""
    found = properties.texts(folder, charset)
    wanted = (_DISPLAY_NAME, _SMTP_ADDRESS, _ADDRESS)
    return " ".join(dict.fromkeys(text for number in wanted if (text := found.get(number))))
