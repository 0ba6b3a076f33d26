"""What a message's signatures say (DKIM, RFC 6376; ARC, RFC 8617), given the DNS answers that are known.

Runs in the parser's cage: the header is hostile, and what reads it is not bounded in time. It asks no server:
it says which names it wanted, and is run again with the answers (``origin``).
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parseaddr
from typing import Any, Literal

import dkim

from archive_service.model.clock import rfc3339
from archive_service.model.evidence import Arc, ArcSet, Claim, DnsAnswer, Origin, Signature, Spf
from ingest.evidence.zone_text import texts

MOST_SIGNATURES = 10
MOST_NAMES = 40  # questions to the DNS for one message
_MOST_ARC = 50  # RFC 8617 section 4.2.1
_MOST_CLAIMS = 20
_VALUE = 4000
_SHORT = 300
_CLAIMS = (b"authentication-results", b"received-spf", b"arc-authentication-results")
_DOMAIN = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})+")
_BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
_quiet = logging.getLogger("archive_service.dkim")
_quiet.disabled = True  # it would quote the header

Headers = list[tuple[bytes, bytes]]


@dataclass
class Answers:
    """What is known of the DNS by name, without a final dot and in lower case; collects what is not."""

    known: Mapping[str, DnsAnswer]
    wanted: list[str] = field(default_factory=list)

    def ask(self, name: str) -> DnsAnswer | None:
        """None: not known yet."""
        key = name.rstrip(".").lower()
        answer = self.known.get(key)
        if answer is None and key not in self.wanted and len(self.wanted) < MOST_NAMES:
            self.wanted.append(key)
        return answer


def examine(inner: bytes, mail_from: str, known: Mapping[str, DnsAnswer]) -> tuple[Origin, list[str]]:
    """What the message says of its origin, and the names that were asked for and are not in ``known``.
    ``mail_from``: the reverse-path of the SMTP transaction where that is the message's own, else "". Never
    raises for what a message holds, but MemoryError."""
    answers = Answers(known)
    try:
        signer = dkim.DKIM(inner, logger=_quiet)
    except (dkim.DKIMException, IndexError) as error:
        return Origin(unexamined=f"the header cannot be read: {type(error).__name__}"), []
    headers = [(bytes(name).lower(), bytes(value)) for name, value in signer.headers]
    total = sum(name == b"dkim-signature" for name, _ in headers)
    domain = _from_domain(headers)
    signatures = tuple(
        _signature(signer, number, domain, answers) for number in range(min(total, MOST_SIGNATURES))
    )
    origin = Origin(
        line_ends="made_crlf" if _BARE.search(inner) else "as_received",
        from_domain=domain,
        dkim=signatures,
        more_signatures=max(0, total - MOST_SIGNATURES),
        arc=_arc(inner, headers, answers),
        spf=_spf(headers, mail_from, answers),
        policy=None if domain is None else _asked(answers, f"_dmarc.{domain}"),
        claims=tuple(_claims(headers)),
    )
    return origin, answers.wanted


def _asked(answers: Answers, name: str) -> str:
    answers.ask(name)
    return name.rstrip(".").lower()


# --- DKIM ---------------------------------------------------------------------------------------------


@dataclass
class _Key:
    """The key that a signature asked for: the question, and what is wrong with the answer."""

    answers: Answers
    name: str | None = None
    trouble: tuple[Literal["permerror", "temperror"], str] | None = None

    def get(self, name: bytes, timeout: float = 0) -> bytes | None:
        """What ``dkim`` calls: the record, or None."""
        del timeout
        self.name = _text(name).rstrip(".").lower()
        answer = self.answers.ask(self.name)
        self.trouble = _trouble(answer)
        if answer is None or self.trouble is not None:
            return None
        return texts(answer)[0]


def _trouble(answer: DnsAnswer | None) -> tuple[Literal["permerror", "temperror"], str] | None:
    """Why an answer gives no key."""
    if answer is None:
        return "temperror", "too many names were asked for"
    if answer.rcode in ("NXDOMAIN", "BAD_NAME", "TOO_LARGE"):
        return "permerror", f"no key: {answer.rcode}"
    if answer.rcode != "NOERROR":
        return "temperror", f"the DNS gave no answer: {answer.rcode}"
    records = texts(answer)
    if len(records) != 1:  # RFC 6376 section 3.6.2.2: what several records mean is undefined
        return "permerror", "no key: no TXT record" if not records else "several TXT records"
    try:
        tags = dkim.parse_tag_value(records[0])
        if tags.get(b"p") == b"":
            return "permerror", "the key was revoked"
        dkim.evaluate_pk("", records[0])
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a key record is as hostile as a header
        return "permerror", f"the key cannot be used: {type(error).__name__}"
    return None


def _signature(signer: Any, number: int, from_domain: str | None, answers: Answers) -> Signature:
    key = _Key(answers)
    signer.signature_fields = {}
    result: Literal["pass", "fail", "permerror", "temperror"]
    reason: str | None
    try:
        good = signer.verify(idx=number, dnsfunc=key.get)
    except MemoryError:
        raise
    except dkim.ValidationError as error:
        mismatch = str(error).startswith("body hash mismatch")
        result, reason = ("fail", "the body hash differs") if mismatch else ("permerror", _said(error))
    except Exception as error:  # noqa: BLE001 - whatever a hostile header makes of it, it is a result
        result, reason = "permerror", _said(error)
    else:
        result, reason = ("pass", None) if good else ("fail", "the signature does not verify")
    if key.trouble is not None:
        result, reason = key.trouble
    return _described(signer.signature_fields, from_domain, result, reason, key.name)


def _said(error: Exception) -> str:
    """A library's words, which may quote the header: cut, and on one line."""
    return f"{type(error).__name__}: {error}"[:_SHORT].replace("\n", " ").replace("\r", " ")


def _described(
    fields: Mapping[bytes, bytes],
    from_domain: str | None,
    result: Literal["pass", "fail", "permerror", "temperror"],
    reason: str | None,
    key: str | None,
) -> Signature:
    def tag(name: bytes) -> str | None:
        return _text(fields[name])[:_SHORT] if name in fields else None

    names = [name.strip().lower() for name in (tag(b"h") or "").split(":")]
    domain = tag(b"d")
    return Signature(
        result=result,
        reason=reason,
        domain=domain,
        selector=tag(b"s"),
        identity=tag(b"i"),
        algorithm=tag(b"a"),
        canonicalization=tag(b"c"),
        signed=tuple(dict.fromkeys(name for name in names if name)),
        body_limit=_whole(tag(b"l")),
        time=_time(tag(b"t")),
        expires=_time(tag(b"x")),
        aligned=_aligned(domain, from_domain),
        key=key,
    )


def _aligned(domain: str | None, from_domain: str | None) -> Literal["same", "related", "no"]:
    if not domain or not from_domain:
        return "no"
    signing, author = domain.rstrip(".").lower(), from_domain.lower()
    if signing == author:
        return "same"
    parts = "." in signing and "." in author
    related = parts and (author.endswith(f".{signing}") or signing.endswith(f".{author}"))
    return "related" if related else "no"


def _whole(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 15:
        return None
    return int(text)


def _time(text: str | None) -> str | None:
    seconds = _whole(text)
    if seconds is None or seconds >= 253_402_300_800:  # the year 10000
        return None
    return rfc3339(datetime.fromtimestamp(seconds, UTC))


# --- ARC ----------------------------------------------------------------------------------------------


def _arc(inner: bytes, headers: Headers, answers: Answers) -> Arc:
    sets = sum(name == b"arc-seal" for name, _ in headers)
    if not sets:
        return Arc(result="none")
    if sets > _MOST_ARC:
        return Arc(result="fail", reason="more sets than a chain may have")
    troubles: dict[str, Literal["permerror", "temperror"]] = {}

    def get(name: bytes, timeout: float = 0) -> bytes | None:
        key = _Key(answers)
        record = key.get(name, timeout)
        if key.trouble is not None and key.name is not None:
            troubles[key.name] = key.trouble[0]
        return record

    try:
        result, found, reason = dkim.ARC(inner, logger=_quiet).verify(dnsfunc=get)
        described = tuple(_set(each) for each in found)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        return Arc(result="fail", reason=_said(error))
    word: Literal["none", "pass", "fail", "temperror"] = "pass" if result == b"pass" else "fail"
    if word == "fail" and "temperror" in troubles.values():
        word = "temperror"
    return Arc(result=word, reason=None if word == "pass" else str(reason)[:_SHORT], sets=described)


def _set(found: Mapping[str, Any]) -> ArcSet:
    def key(kind: str) -> str | None:
        selector, domain = found.get(f"{kind}-selector"), found.get(f"{kind}-domain")
        if not isinstance(selector, bytes) or not isinstance(domain, bytes):
            return None
        return f"{_text(selector)}._domainkey.{_text(domain)}".rstrip(".").lower()[:_SHORT]

    chain = found.get("cv")
    return ArcSet(
        instance=int(found["instance"]),
        chain=_text(chain)[:_SHORT] if isinstance(chain, bytes) else None,
        seal=bool(found.get("as-valid")),
        message=bool(found.get("ams-valid")),
        seal_key=key("as"),
        message_key=key("ams"),
    )


# --- what others say, and what SPF would begin with ---------------------------------------------------


def _claims(headers: Headers) -> Iterator[Claim]:
    left = _MOST_CLAIMS
    for name, value in headers:
        if name in _CLAIMS and left:
            left -= 1
            unfolded = re.sub(r"\r\n(?=[ \t])", "", _text(value)).strip()
            yield Claim(field=name.decode("ascii"), value=unfolded[:_VALUE])


def _spf(headers: Headers, mail_from: str, answers: Answers) -> Spf:
    paths = [value for name, value in headers if name == b"return-path"]
    for path, known in ((mail_from, "envelope"), (_text(paths[0]) if paths else "", "return-path")):
        domain = _domain(path.strip().strip("<>").rpartition("@")[2])
        if domain is not None:
            from_where: Literal["envelope", "return-path"] = (
                "envelope" if known == "envelope" else "return-path"
            )
            return Spf(domain=domain, known_from=from_where, record=_asked(answers, domain))
    return Spf()


def _from_domain(headers: Headers) -> str | None:
    """Of the one From field; None where there are several, which no two readers take alike."""
    fields = [value for name, value in headers if name == b"from"]
    if len(fields) != 1:
        return None
    address: Callable[[str], tuple[str, str]] = parseaddr
    return _domain(address(_text(fields[0])[:_VALUE].replace("\r\n", ""))[1].rpartition("@")[2])


def _domain(text: str) -> str | None:
    try:
        ascii_ = text.strip().rstrip(".").encode("idna").decode("ascii").lower() if text else ""
    except UnicodeError:
        return None
    return ascii_ if len(ascii_) <= 253 and _DOMAIN.fullmatch(ascii_) else None


def _text(data: bytes) -> str:
    """Never with a lone surrogate; bytes that are not UTF-8 as ``\\xNN``."""
    return data.decode("utf-8", "backslashreplace")
