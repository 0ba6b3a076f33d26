"""Certificates made for a run: an authority, what it issues, and TLS contexts over them."""

import base64
import datetime
import ssl
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


@dataclass
class Certificate:
    """A certificate, its key, and who issued it (None: itself)."""

    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    issuer: "Certificate | None" = None

    @property
    def pem(self) -> bytes:
        return self.cert.public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.cert.public_bytes(Encoding.DER)

    @property
    def kept(self) -> str:
        """As a source's guard keeps it."""
        return base64.b64encode(self.der).decode("ascii")

    @property
    def fingerprint(self) -> str:
        return sha256(self.der).hexdigest()

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The chain without its root, and the key."""
        folder.mkdir(parents=True, exist_ok=True)
        chain, above = self.pem, self.issuer
        while above is not None and above.issuer is not None:
            chain, above = chain + above.pem, above.issuer
        (folder / "chain.pem").write_bytes(chain)
        private = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "key.pem").write_bytes(private)
        return folder / "chain.pem", folder / "key.pem"


def issue(
    name: str, issuer: Certificate | None = None, *, authority: bool = False, days: tuple[int, int] = (-1, 1)
) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.cert.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return Certificate(
        builder.sign((issuer or Certificate).key if issuer else key, hashes.SHA256()), key, issuer
    )


def server_context(folder: Path, own: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*own.write(folder))
    return context


def client_context(
    trusts: Certificate, folder: Path | None = None, own: Certificate | None = None
) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=trusts.pem.decode())
    if own is not None and folder is not None:
        context.load_cert_chain(*own.write(folder))
    return context
