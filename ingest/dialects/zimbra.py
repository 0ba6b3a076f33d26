"""Zimbra: legal intercept messages, and the copies of archiving accounts.

An intercept is a multipart/mixed of a text and the message as message/rfc822, one for each event in a mailbox
(received, sent, draft saved), marked by ``Auto-Submitted: auto-replied (zimbra; intercept)``. From, subject and text
come from templates of the account; by default the text is

    Intercepted message for ACCOUNT.
    Operation=add message, folder=Inbox, folder ID=2.

An archiving account's copy is the message itself, forked in the MTA by amavisd, which writes the envelope above it.
"""

import re

from archive_service.model.mail import CaptureRecord, Recipient
from ingest.dialects.base import Envelope, Unwrapped, marked_as_intercept, marked_by_any, report_text
from ingest.dialects.plain import copy_of, named_by_rcpt, whole
from ingest.dialects.recipients import addresses_in, delivered_to, header_addresses
from ingest.mime.addresses import parse_addresses
from ingest.mime.headers import decode_value
from ingest.mime.scanner import Entity, Headers, scan, scan_headers

_IDENTITY = frozenset(("7bit", "8bit", "binary"))
_DRAFT = "save draft"
_OPERATIONS = ("add message", "send message", _DRAFT)
_OPERATION = re.compile(rf"^Operation=({'|'.join(_OPERATIONS)})\b", re.MULTILINE)
_ACCOUNT = re.compile(r"\AIntercept(?:ed)? message for <?([^\s<>@]{1,256}@[^\s<>@:]{1,255}?)>?[.:]?(?:\s|\Z)")
_LONGEST_TEXT = 1 << 16  # characters of an intercept's own text that are looked at


def _operation(text: str, subject: str) -> str | None:
    """What happened in the mailbox: by the default template's line, else by the one operation that any template's text
    names, in both cases when the message's own subject is taken out of it: whoever sends mail writes that. None when
    there is no telling."""
    own = text.replace(subject, " ") if subject else text
    named = {operation for operation in _OPERATIONS if operation in own}
    lines = set(_OPERATION.findall(own))
    if not lines and not named and _DRAFT not in subject:
        lines = set(_OPERATION.findall(text))  # a subject of the operation's own words took them out
    said = lines or named
    if len(said) > 1 or (said == {_DRAFT} and named - said):
        return None  # what may be no draft is shown
    return next(iter(said), None)


def _account(text: str, headers: Headers) -> str | None:
    """The mailbox, by the default templates of text or subject; None when both were changed."""
    for said in (text.lstrip(), decode_value(headers.first("subject") or b"")):
        found = _ACCOUNT.match(said)
        if found is not None:
            return next(iter(parse_addresses(found.group(1))), None)
    return None


def _recipients(inner: Headers, account: str | None, operation: str | None) -> tuple[Recipient, ...]:
    """The account, when the message came to it: what it wrote itself is added to a folder too (Sent)."""
    if account is None or operation != "add message":
        return ()
    authors = {one.lower() for name in ("from", "sender") for one in header_addresses(inner, name)}
    return () if account.lower() in authors else delivered_to(inner, (account,))


def _intercepted(raw: bytes, root: Entity) -> Unwrapped:
    """The message inside an intercept; the whole capture when there is not exactly one."""
    text = (report_text(raw, root.children[:1]) or "")[:_LONGEST_TEXT].replace("\r\n", "\n")
    account = _account(text, root.headers)
    messages = [part for part in root.children if part.is_message]
    message = messages[0] if len(messages) == 1 else None
    if message is None or message.encoding not in _IDENTITY or message.body == message.end:
        envelope = Envelope(mailbox=account)
        return Unwrapped(0, len(raw), ("journal_report", "report_unparsed"), envelope)
    inner = scan_headers(raw, message.body, message.end)
    operation = _operation(text, decode_value(inner.first("subject") or b""))
    flags = ["journal_report"]
    if operation is None:
        flags.append("operation_unknown")
    elif operation == _DRAFT:
        flags.append("draft")
    if not raw[inner.end : message.end].strip():
        flags.append("headers_only")
    if marked_by_any(inner):
        flags.append("forged_report")  # somebody mailed an intercept: it is what this one is of
    envelope = Envelope(recipients=_recipients(inner, account, operation), mailbox=account)
    return Unwrapped(message.body, message.end, tuple(flags), envelope)


def _is_meant(headers: Headers, record: CaptureRecord) -> bool:
    """Whether a marked mail is an intercept for this source: Zimbra writes the intercept address, which is the source's
    secret, into To. Anybody may send a marked mail to a mailbox of which the MTA hands over copies. An import has
    no RCPT: it is of what the administrator says it is."""
    named = {address.lower() for address in header_addresses(headers, "to")}
    return record.channel == "import" or any(rcpt.lower() in named for rcpt in record.rcpt_to)


def _forked_for(headers: Headers) -> list[str]:
    """Whom amavisd forked a message for: its ``X-Envelope-To`` above the first Received field. One below it came with
    the message, and anybody may have written it."""
    found: list[str] = []
    for name, value in headers.fields:
        if name == "received":
            break
        if name == "x-envelope-to":
            found.extend(addresses_in(value))
    return found


class Zimbra:
    """Intercepts tell no envelope, so that nothing is ever complete. A draft is a message like any other, flagged
    ``draft``."""

    name = "zimbra"

    def unwrap(self, raw: bytes, record: CaptureRecord) -> Unwrapped:
        """The message inside an intercept that is addressed to this source; else the whole capture, with the recipients
        that amavisd or the RCPTs name. An intercept of which the mailbox handed over the header alone is flagged
        ``headers_only`` (and so is one of a mail without text)."""
        headers = scan_headers(raw, 0, len(raw))
        if marked_as_intercept(headers) and _is_meant(headers, record):
            return _intercepted(raw, scan(raw, 0, len(raw), max_depth=1).root)
        return whole(raw, headers, copy_of(headers, [*_forked_for(headers), *named_by_rcpt(record)]))
