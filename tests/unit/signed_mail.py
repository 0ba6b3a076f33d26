"""Mail with real DKIM and ARC signatures, and the key records that go with them."""

import base64
from functools import cache

import dkim
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

DOMAIN, SELECTOR = "exemple.fr", "s1"
KEY_NAME = f"{SELECTOR}._domainkey.{DOMAIN}"


@cache
def private_key() -> rsa.RSAPrivateKey:
    """One key a process."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem() -> bytes:
    return private_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def key_record() -> str:
    """The DNS record of ``private_key``."""
    der = private_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "v=DKIM1; k=rsa; p=" + base64.b64encode(der).decode("ascii")


@cache
def ed_key() -> tuple[bytes, str]:
    """An Ed25519 key as dkimpy takes it, and its DNS record (RFC 8463)."""
    key = ed25519.Ed25519PrivateKey.generate()
    seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(seed), "v=DKIM1; k=ed25519; p=" + base64.b64encode(public).decode("ascii")


def plain(subject: str = "devis", sender: str = f"anne@{DOMAIN}") -> bytes:
    """An unsigned mail."""
    return (
        f"From: Anne <{sender}>\r\nTo: bob@exemple.org\r\nSubject: {subject}\r\n"
        f"Message-ID: <{subject}@{DOMAIN}>\r\n\r\nBonjour,\r\n\r\nle devis.\r\n"
    ).encode()


def signed(subject: str = "devis", sender: str = f"anne@{DOMAIN}", *, length: bool = False) -> bytes:
    """The same, signed by ``DOMAIN``; with ``length`` only as far as its body goes now (l=). RSA signatures of one mail
    in one second are the same."""
    return _signed(plain(subject, sender), length)


@cache
def _signed(mail: bytes, length: bool) -> bytes:
    header: bytes = dkim.sign(
        mail,
        SELECTOR.encode(),
        DOMAIN.encode(),
        _pem(),
        canonicalize=(b"relaxed", b"relaxed"),
        length=length,
    )
    return header + mail


def ed_signed(subject: str = "devis") -> bytes:
    """Signed with Ed25519."""
    mail = plain(subject)
    header: bytes = dkim.sign(
        mail, SELECTOR.encode(), DOMAIN.encode(), ed_key()[0], signature_algorithm=b"ed25519-sha256"
    )
    return header + mail


def arc_sealed(mail: bytes, results: str = "dkim=pass") -> bytes:
    """With one ARC set more."""
    with_results = f"Authentication-Results: mx.{DOMAIN}; {results}\r\n".encode() + mail
    headers = dkim.arc_sign(with_results, SELECTOR.encode(), DOMAIN.encode(), _pem(), f"mx.{DOMAIN}".encode())
    return b"".join(headers) + with_results
