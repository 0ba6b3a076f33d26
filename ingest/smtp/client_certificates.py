"""Client certificates: asked for only where a source wants one, and what a handshake has proven.

The library verifies a certificate in the handshake or not at all. So a sender from a network where some source wants
certificates is asked for one (it need not have one), against the trust anchors of all those sources; which of
them it reached is held against the one source at RCPT.
"""

import ssl
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any


def asking(make: Callable[[], ssl.SSLContext], anchors: Sequence[bytes]) -> ssl.SSLContext:
    """A context of its own for one handshake, that asks for a certificate under one of the anchors (DER). An anchor
    need not be an authority: a sender's own certificate is good by itself (a partial chain).

    A context for each handshake also means that no session is resumed: a resumed one has no chain to look at. Raises
    OSError (ssl.SSLError among them), ArchiveError when it cannot be made.
    """
    context = make()
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=b"".join(dict.fromkeys(anchors)))
    return context


def chain_of(secured: ssl.SSLObject) -> frozenset[str]:
    """SHA-256, hex, of each certificate of the peer's verified chain; empty when it showed none."""
    if secured.context.verify_mode == ssl.CERT_NONE or secured.getpeercert(binary_form=True) is None:
        return frozenset()
    return frozenset(sha256(der).hexdigest() for der in _verified(secured))


def _verified(secured: Any) -> list[bytes]:
    if hasattr(secured, "get_verified_chain"):  # Python 3.13
        return list(secured.get_verified_chain())
    import _ssl  # until then the same function is there, and not yet public

    chain = secured._sslobj.get_verified_chain() or []
    return [certificate.public_bytes(_ssl.ENCODING_DER) for certificate in chain]
