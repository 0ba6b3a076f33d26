"""Recipients that a mail server puts into the archive's address: ``SECRET+user=example.fr@ARCHIVE`` (RFC 5233).

A server that hands over copies knows who gets a message, and has no place for it but the address that it hands them
to. Postfix writes it with ``recipient_bcc_maps``.
"""

import re

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_DOMAIN = re.compile(r"[^\s@=+\x00-\x20\x7f]+")


def split_subaddress(address: str) -> tuple[str, str | None]:
    """The archive's own address, and the recipient that stands in ``address`` beside it; None when there is none.

    The local part is split at its first ``+``, the recipient at its last ``=``: a domain has none, a user may have
    both. A quoted local part (RFC 5321 section 4.1.2) is unquoted first. What names nobody leaves the address whole.
    """
    local, at, domain = address.rpartition("@")
    quoted = _QUOTED.fullmatch(local)
    if quoted is not None:
        local = _ESCAPED.sub(r"\1", quoted.group(1))
    own, plus, original = local.partition("+")
    user, equals, host = original.rpartition("=")
    if not (at and own and plus and equals and user) or _DOMAIN.fullmatch(host) is None:
        return address, None
    return f"{own}@{domain}", f"{user}@{host}"
