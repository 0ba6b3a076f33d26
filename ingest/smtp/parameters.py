"""The arguments of MAIL and RCPT (RFC 5321 section 4.1.2): a path and its parameters.

Lenient in what costs nothing, for a journal sender with odd habits must not lose mail: a space after the
colon, a missing pair of brackets, an unusual local part. Sender paths are recorded, never routed on.
"""

import re
from dataclasses import dataclass

from ingest.smtp import replies
from ingest.smtp.replies import Refused

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 section 3
_UP_TO_SPACE = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s"])*')
_UP_TO_BRACKET = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^"<>])*')
_ROUTE = re.compile(r"@[^:]*:")  # RFC 5321 appendix C: accepted and ignored

_BODIES = {"7BIT", "8BITMIME", "BINARYMIME"}  # RFC 6152, RFC 3030
_MAIL_KEYWORDS = {"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"}  # the last three are only recorded
_RCPT_KEYWORDS = {"NOTIFY", "ORCPT"}  # RFC 3461: nothing is ever delivered on, so there is nothing to notify


@dataclass(frozen=True, slots=True)
class MailArguments:
    """MAIL: ``address`` is "" for the null reverse-path; ``given`` the parameters as they were written."""

    address: str
    given: tuple[str, ...] = ()
    size: int | None = None
    binary: bool = False


def parse_mail(argument: str) -> MailArguments:
    """Read ``FROM:<path> parameters``. Raises Refused with the reply."""
    address, rest = _path(_after_keyword(argument, "FROM:"), replies.BAD_SENDER)
    if not rest:
        return MailArguments(address)
    values = _parameters(rest, _MAIL_KEYWORDS)
    size = values.get("SIZE")
    if "SIZE" in values and (size is None or not _SIZE.fullmatch(size)):
        raise Refused(replies.BAD_ARGUMENTS)
    body = values.get("BODY", "7BIT")
    if body is None or body.upper() not in _BODIES:
        raise Refused(replies.BAD_ARGUMENTS)
    if values.get("SMTPUTF8") is not None:  # RFC 6531 section 3.4: no value
        raise Refused(replies.BAD_ARGUMENTS)
    return MailArguments(
        address,
        tuple(rest.split()),
        int(size) if size is not None else None,
        body.upper() == "BINARYMIME",
    )


def parse_rcpt(argument: str) -> str:
    """Read ``TO:<path> parameters`` and return the address, never empty. Raises Refused with the reply."""
    address, rest = _path(_after_keyword(argument, "TO:"), replies.BAD_RECIPIENT)
    if not address:
        raise Refused(replies.BAD_RECIPIENT)
    if rest:
        _parameters(rest, _RCPT_KEYWORDS)
    return address


def parse_bdat(argument: str | None) -> tuple[int, bool]:
    """Read ``chunk-size [LAST]`` (RFC 3030 section 2). Raises Refused with the reply."""
    words = (argument or "").upper().split()
    if not words or not _SIZE.fullmatch(words[0]) or words[1:] not in ([], ["LAST"]):
        raise Refused(replies.BAD_ARGUMENTS)
    return int(words[0]), len(words) == 2


def _after_keyword(argument: str, keyword: str) -> str:
    if argument[: len(keyword)].upper() != keyword:
        raise Refused(replies.BAD_ARGUMENTS)
    return argument[len(keyword) :].strip()


def _path(text: str, malformed: replies.Reply) -> tuple[str, str]:
    """The address of a path and what follows it."""
    if text.startswith("<"):
        end = _end_of(_UP_TO_BRACKET, text, 1)
        if text[end : end + 1] != ">":
            raise Refused(malformed)
        inner, rest = text[1:end].strip(), text[end + 1 :].strip()
        if inner.startswith("@"):
            route = _ROUTE.match(inner)
            if route is None or route.end() == len(inner):
                raise Refused(malformed)
            inner = inner[route.end() :]
        return inner, rest
    end = _end_of(_UP_TO_SPACE, text, 0)
    if end == 0 or ">" in text[:end] or (end < len(text) and not text[end].isspace()):
        raise Refused(malformed)
    return text[:end], text[end:].strip()


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found is not None else start


def _parameters(rest: str, known: set[str]) -> dict[str, str | None]:
    """Parameters by upper-case keyword; None for one without a value."""
    values: dict[str, str | None] = {}
    for parameter in rest.split():
        keyword, equals, value = parameter.partition("=")
        name = keyword.upper()
        if not _KEYWORD.fullmatch(keyword) or (equals and not value) or name in values:
            raise Refused(replies.BAD_ARGUMENTS)
        if name not in known:
            raise Refused(replies.UNKNOWN_PARAMETER)
        values[name] = value if equals else None
    return values
