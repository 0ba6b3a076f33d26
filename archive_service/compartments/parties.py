"""Who took part in a capture, for exclusion lists: whoever may have, rather than only who is sure to.

What a list withdraws is destroyed, and the fields of a header are its sender's to write. So everybody counts whom
header, journal or transaction name, each address in one form; and who cannot be placed (a directory name, an address
of no domain, what lies beyond a header that was read in part) counts as an internal party whom no list names: such
mail is sealed into the compartment instead.
"""

from collections.abc import Iterable

from archive_service.model.mail import CaptureRecord, Parsed, SourceKind
from ingest.dialects.recipients import header_addresses
from ingest.mime.scanner import scan_headers

NAMELESS = "somebody"
"""Stands for a party that cannot be told: no address of any domain."""

_AUTHORS = ("from", "sender", "resent-from", "resent-sender", "resent-to", "resent-cc", "resent-bcc")
_LONGEST_HEADER = 1 << 18


def plain_domain(domain: str) -> str:
    """A domain in lower case, without the dot of the root, as A-labels (RFC 5890 section 2.3.2.1) where it has them."""
    domain = domain.strip().lower().rstrip(".")
    if domain.isascii() or len(domain) > 253:
        return domain
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return domain  # no host name: it is like no other


def plain_address(address: str) -> str:
    """An address in lower case with a plain domain, its local part without quotes that it does not need (RFC 5321
    section 4.1.2). What has no domain comes back in lower case."""
    local, at, domain = address.strip().lower().rpartition("@")
    if not at:
        return domain
    if len(local) > 2 and local[0] == local[-1] == '"' and local[1:-1].replace(".", "").isalnum():
        local = local[1:-1]
    return f"{local}@{plain_domain(domain)}"


def parties(record: CaptureRecord, kind: SourceKind, parsed: Parsed) -> list[str]:
    """Whom finding and transaction name. MAIL FROM is the mail's own on a Postfix source, elsewhere the journal's."""
    named = [parsed.sender, parsed.on_behalf_of, parsed.mailbox]
    named += [recipient.address for recipient in parsed.recipients]
    if kind is SourceKind.POSTFIX and record.channel == "smtp":
        named.append(record.mail_from)
    if record.milter is not None and "@" in (record.milter.user or ""):
        named.append(record.milter.user)
    return [each for each in named if each and each.strip()]


def authors(raw: bytes, parsed: Parsed) -> list[str]:
    """Whom the header names as author or as who sent it again, beside ``Parsed.sender``; and a nameless party when it
    was read in part. It is read outside the parser's cage: linear, its first 256 KiB alone."""
    end = min(parsed.inner_end, parsed.inner_start + _LONGEST_HEADER)
    headers = scan_headers(raw, parsed.inner_start, end)
    found = [address for field in _AUTHORS for address in header_addresses(headers, field)]
    in_part = "partly_parsed" in parsed.flags or parsed.inner_end > end <= headers.end
    return [*found, NAMELESS] if in_part else found


def placed(named: Iterable[str], domains: Iterable[str]) -> set[str]:
    """These parties as ``retention.exclusion.judge`` takes them. ``domains``: those that the lists call the
    organisation's own; who has no domain stands in one of them."""
    stand_in = f"@{min(domains, default='')}"  # in a domain of ours, and nobody whom a list could name
    return {plain if _has_domain(plain) else stand_in for plain in map(plain_address, named)}


def _has_domain(address: str) -> bool:
    """Whether an address says whose it is. One without a domain, or with an address literal (RFC 5321 section 4.1.3),
    is the server's own that took it; names of directories are of the organisation."""
    local, _, domain = address.rpartition("@")
    return bool(local and domain) and not domain.startswith("[")
