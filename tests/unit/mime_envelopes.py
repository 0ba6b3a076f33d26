"""Envelopes of others made for the tests: winmail.dat by its specification, CMS by another library."""

import struct
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

TEXT8, TEXT16, OBJECT, BINARY, LONG = 0x1E, 0x1F, 0x0D, 0x102, 0x03


def attribute(identity: int, data: bytes) -> bytes:
    """One attribute of a TNEF stream ([MS-OXTNEF] section 2.1.3.1)."""
    level = 2 if identity in (0x69002, 0x18010, 0x6800F, 0x69005) else 1
    return struct.pack("<BII", level, identity, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF)


def tnef(*attributes: bytes) -> bytes:
    """A TNEF stream, of code page 1252."""
    return (
        b"\x78\x9f\x3e\x22\x01\x00" + attribute(0x69007, struct.pack("<II", 1252, 0)) + b"".join(attributes)
    )


def padded(data: bytes) -> bytes:
    return data + b"\x00" * (-len(data) % 4)


def value(kind: int, data: bytes | str | int) -> bytes:
    """A property's value."""
    if isinstance(data, int):
        return struct.pack("<I", data)
    if isinstance(data, str):
        data = data.encode("utf-16-le" if kind == TEXT16 else "cp1252") + (
            b"\x00\x00" if kind == TEXT16 else b"\x00"
        )
    return struct.pack("<II", 1, len(data)) + padded(data)


def properties(*listed: tuple[int, int, bytes | str | int], named: bytes = b"") -> bytes:
    """Property identifiers, types and values as attMAPIProps and attAttachment hold them."""
    body = b"".join(
        struct.pack("<I", number << 16 | kind) + value(kind, data) for number, kind, data in listed
    )
    return struct.pack("<I", len(listed) + (1 if named else 0)) + named + body


def attached_file(name: str, data: bytes) -> bytes:
    """A file as Outlook writes it: rendering data, short name, data, then its properties with the long name."""
    return (
        attribute(0x69002, b"\x01\x00" + b"\xff" * 12)
        + attribute(0x18010, name[:8].encode("cp1252", "replace") + b"\x00")
        + attribute(0x6800F, data)
        + attribute(0x69005, properties((0x3707, TEXT16, name)))
    )


def attached_message(inner: bytes) -> bytes:
    """A message within: an object property, its interface before its stream."""
    data = b"\x07\x03\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00\x46" + inner
    return attribute(0x69002, b"\x02\x00" + b"\xff" * 12) + attribute(
        0x69005, properties((0x3701, OBJECT, data))
    )


def compressed_rtf(plain: bytes) -> bytes:
    """Rich text as PR_RTF_COMPRESSED, of literals alone, with the mark of its end."""
    out = bytearray()
    end = (207 + len(plain)) % 4096
    items: list[bytes] = [plain[n : n + 1] for n in range(len(plain))] + [struct.pack(">H", end << 4)]
    for start in range(0, len(items), 8):
        run = items[start : start + 8]
        out.append(sum(1 << n for n, item in enumerate(run) if len(item) == 2))
        out += b"".join(run)
    return struct.pack("<IIII", len(out) + 12, len(plain), 0x75465A4C, 0) + bytes(out)


@cache
def _identity() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Anne")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=2))
    return key, builder.sign(key, hashes.SHA256())


def signed(content: bytes) -> bytes:
    """An opaque signature around the content, DER."""
    key, certificate = _identity()
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(certificate, key, hashes.SHA256())
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def detached(content: bytes) -> bytes:
    """A signature that stands beside its content, DER."""
    key, certificate = _identity()
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(certificate, key, hashes.SHA256())
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.DetachedSignature])


def enveloped(content: bytes) -> bytes:
    """The content encrypted, DER."""
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(content).add_recipient(_identity()[1])
    return builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])


def element(tag: int, *content: bytes, indefinite: bool = False) -> bytes:
    """A BER element."""
    body = b"".join(content)
    if indefinite:
        return bytes([tag, 0x80]) + body + b"\x00\x00"
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = len(body).to_bytes(4, "big")
    return bytes([tag, 0x84]) + size + body


def streamed(kind: str, pieces: list[bytes], *, indefinite: bool) -> bytes:
    """A ContentInfo of a kind (an OID in hex) in which the content stands in pieces, as streaming writers make it."""
    octets = element(0x24, *(element(0x04, piece) for piece in pieces), indefinite=indefinite)
    inside = element(
        0x30,
        element(0x06, bytes.fromhex("2a864886f70d010701")),
        element(0xA0, octets, indefinite=indefinite),
        indefinite=indefinite,
    )
    algorithms = element(0x31, element(0x30, b"\x05\x00", indefinite=indefinite), indefinite=indefinite)
    data = element(0x30, b"\x02\x01\x01", algorithms, inside, indefinite=indefinite)
    return element(
        0x30,
        element(0x06, bytes.fromhex(kind)),
        element(0xA0, data, indefinite=indefinite),
        indefinite=indefinite,
    )


Tree = dict[str, "bytes | Tree"]
_FREE, _END, _TABLE = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD


def _sectors(size: int) -> int:
    return -(-size // 512)


def compound(tree: Tree) -> bytes:
    """A compound file ([MS-CFB] version 3) of whole sectors alone: its bound for small streams is 0."""
    rows: list[tuple[str, int, int, int, bytes]] = [("Root Entry", 5, _FREE, _FREE, b"")]
    _rows(tree, 0, rows)
    needed = _sectors(len(rows) * 128) + sum(_sectors(len(row[4])) for row in rows)
    tables = next(n for n in range(1, 110) if n * 128 >= needed + n)
    chain = [_TABLE] * tables + _chained(tables, _sectors(len(rows) * 128))
    directory, content = b"", b""
    for name, kind, right, child, data in rows:
        start = len(chain) if data else _END
        chain += _chained(len(chain), _sectors(len(data)))
        content += data + b"\x00" * (-len(data) % 512)
        spelled = name.encode("utf-16-le")
        directory += struct.pack("<64sHBBIII", spelled, len(spelled) + 2, kind, 1, _FREE, right, child)
        directory += struct.pack("<16sIQQIQ", b"", 0, 0, 0, start, len(data))
    chain += [_FREE] * (tables * 128 - len(chain))
    header = bytes.fromhex("d0cf11e0a1b11ae1") + b"\x00" * 16 + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
    header += (
        b"\x00" * 6 + struct.pack("<IIIII", 0, tables, tables, 0, 0) + struct.pack("<IIII", _END, 0, _END, 0)
    )
    header += struct.pack("<109I", *(n if n < tables else _FREE for n in range(109)))
    table = struct.pack(f"<{len(chain)}I", *chain)
    return header + table + directory + b"\x00" * (-len(directory) % 512) + content


def _chained(first: int, count: int) -> list[int]:
    return [first + n + 1 for n in range(count - 1)] + [_END] * (count > 0)


def _rows(tree: Tree, parent: int, rows: list[tuple[str, int, int, int, bytes]]) -> None:
    """Entries of one folder, each the right neighbour of the one before."""
    before: int | None = None
    for name, value in tree.items():
        place = len(rows)
        if before is None:
            rows[parent] = (*rows[parent][:3], place, rows[parent][4])
        else:
            rows[before] = (*rows[before][:2], place, *rows[before][3:])
        before = place
        if isinstance(value, bytes):
            rows.append((name, 2, _FREE, _FREE, value))
        else:
            rows.append((name, 1, _FREE, _FREE, b""))
            _rows(value, place, rows)


def text_stream(number: int, text: str, charset: str = "utf-16-le") -> Tree:
    """A text property of a .msg file."""
    kind = TEXT16 if charset == "utf-16-le" else TEXT8
    return {f"__substg1.0_{number:04X}{kind:04X}": text.encode(charset)}


def message_tree(*properties: Tree, head: int = 32, numbers: dict[int, int] | None = None) -> Tree:
    """A message of a .msg file; inside another one its head has 24 bytes."""
    fixed = b"".join(struct.pack("<IIII", n << 16 | LONG, 6, each, 0) for n, each in (numbers or {}).items())
    tree: Tree = {"__properties_version1.0": b"\x00" * head + fixed}
    for one in properties:
        tree.update(one)
    return tree
