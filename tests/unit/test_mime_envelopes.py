"""What stands inside of Outlook's envelopes and of signatures is found; what is encrypted is kept and named."""

import base64
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.mail import CaptureRecord, Parsed, SourceKind, Text
from ingest.extraction import extract_text
from ingest.interpret import interpret
from ingest.mime.cms import COMPRESSED, OTHER, SIGNED, Cms, read_cms
from ingest.mime.msg import read_msg
from ingest.mime.rtf import expand_rtf, rtf_text
from ingest.mime.tnef import read_tnef
from ingest.parser_pool import ParserPool
from tests.unit.mime_envelopes import (
    BINARY,
    LONG,
    TEXT8,
    TEXT16,
    Tree,
    attached_file,
    attached_message,
    attribute,
    compound,
    compressed_rtf,
    detached,
    enveloped,
    message_tree,
    properties,
    signed,
    streamed,
    text_stream,
    tnef,
)

RECORD = CaptureRecord(
    capture="c",
    source="s",
    received_at="2026-03-01T00:00:00.000000Z",
    mail_from="",
    rcpt_to=("a@example.fr",),
)
SIGNED_DATA, COMPRESSED_DATA = "2a864886f70d010702", "2a864886f70d0109100109"
INNER = b"Content-Type: text/plain; charset=utf-8\r\n\r\nLe contrat est sign\xc3\xa9."


def read(raw: bytes, *, limit: int = 10_000) -> tuple[Parsed, Text]:
    parsed = interpret(raw, SourceKind.GENERIC, RECORD)
    return parsed, extract_text(raw, parsed, limit=limit)


def part(kind: str, data: bytes, name: str = "") -> bytes:
    named = f'; name="{name}"' if name else ""
    head = f"Content-Type: {kind}{named}\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + base64.encodebytes(data)


def mixed(*parts: bytes, kind: str = "mixed") -> bytes:
    body = b"".join(b"--B\r\n" + one + b"\r\n" for one in parts)
    return (
        f"Message-ID: <1>\r\nContent-Type: multipart/{kind}; boundary=B\r\n\r\n".encode()
        + body
        + b"--B--\r\n"
    )


def winmail(data: bytes, *more: bytes) -> bytes:
    return mixed(*more, part("application/ms-tnef", data, "winmail.dat"))


# --- Outlook's envelope ---------------------------------------------------------------------------------


def test_tnef_text_and_files_are_read() -> None:
    csv = attached_file("références clients.csv", "référence;815".encode())
    pdf = attached_file("plan.pdf", b"%PDF-1.7")
    body = attribute(0x69003, properties((0x1000, TEXT16, "Voici le plan à signer"), (0x0037, TEXT8, "Été")))
    parsed, found = read(winmail(tnef(body, csv, pdf), b"Content-Type: text/plain\r\n\r\nVoici le plan"))
    assert parsed.flags == ("tnef",)
    assert found.body == "Voici le plan\nVoici le plan à signer"
    assert found.html_from == len("Voici le plan\n")
    assert found.attachments == "références clients.csv\nréférence;815\nplan.pdf"
    assert found.not_fully_indexed == "attachment kinds not extracted: application/octet-stream"


def test_winmail_is_known_by_its_name() -> None:
    data = tnef(attribute(0x2800C, b"Texte\x00"))
    parsed, found = read(mixed(part("application/octet-stream", data, "WINMAIL.DAT")))
    assert (parsed.flags, found) == (("tnef",), Text(body="Texte"))


def test_tnef_old_attributes_are_read() -> None:
    envelope = read_tnef(tnef(attribute(0x18004, b"Sujet\x00"), attribute(0x2800C, b"Caf\xe9\x00")))
    assert envelope is not None
    assert (envelope.subject, envelope.text, envelope.complete) == ("Sujet", "Café", True)


def test_tnef_html_and_rich_text_bodies() -> None:
    html = attribute(
        0x69003, properties((0x3FDE, LONG, 65001), (0x1013, BINARY, "<p>Re<b>mise</b> 5 €</p>".encode()))
    )
    assert read(winmail(tnef(html)))[1].body == "Remise 5 €"
    rich = compressed_rtf(rb"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\f0 Remise\par de \'e9t\'e9 \u8364?5}")
    assert (
        read(winmail(tnef(attribute(0x69003, properties((0x1009, BINARY, rich))))))[1].body
        == "Remise\nde été €5"
    )
    twice = tnef(attribute(0x69003, properties((0x1000, TEXT8, "Remise de été"), (0x1009, BINARY, rich))))
    assert read(winmail(twice))[1].body.count("Remise") == 2  # the euros are in one of them alone
    same = tnef(attribute(0x69003, properties((0x1000, TEXT8, "Remise de été €5"), (0x1009, BINARY, rich))))
    assert read(winmail(same))[1].body == "Remise de été €5"
    assert read(winmail(same, "Content-Type: text/plain; charset=utf-8\n\nRemise de été, €5".encode()))[
        1
    ].body == ("Remise de été, €5")


def test_tnef_message_inside_a_message() -> None:
    inner = tnef(
        attribute(
            0x69003, properties((0x0037, TEXT16, "Devis"), (0x0C1A, TEXT16, "Anne"), (0x1000, TEXT8, "Oui"))
        )
    )
    found = read(winmail(tnef(attached_message(inner))))[1]
    assert found.attachments == "Devis\nAnne\nOui"
    assert found.not_fully_indexed is None
    for _ in range(8):
        inner = tnef(attached_message(inner))
    found = read(winmail(inner))[1]
    assert found.attachments == ""
    assert found.not_fully_indexed == "attachment kinds not extracted: application/ms-tnef"


def test_tnef_named_property_does_not_derail() -> None:
    named = struct.pack("<I", 0x8001 << 16 | TEXT16) + b"\x00" * 16 + struct.pack("<II", 1, 6)
    named += b"a\x00b\x00\x00\x00\x00\x00" + struct.pack("<II", 1, 2) + b"x\x00\x00\x00"
    numbers = properties((0x1000, TEXT8, "Texte"), named=named)
    envelope = read_tnef(tnef(attribute(0x69003, numbers)))
    assert envelope is not None
    assert (envelope.text, envelope.complete) == ("Texte", True)


def test_a_damaged_tnef_says_so() -> None:
    whole = tnef(attribute(0x2800C, b"Texte\x00"), attached_file("a.txt", b"mot"))
    found = read(winmail(whole[:-20]))[1]
    assert found.body == "Texte"
    assert found.not_fully_indexed == "mail only partly parsed"
    assert read(winmail(b"none at all"))[1].not_fully_indexed == (
        "attachment kinds not extracted: application/ms-tnef"
    )


# --- messages that Outlook saved --------------------------------------------------------------------------


def saved(*properties: Tree, numbers: dict[int, int] | None = None) -> bytes:
    return compound(message_tree(*properties, numbers=numbers))


def test_a_saved_message_is_read_as_an_attachment() -> None:
    file: Tree = {
        "__attach_version1.0_#00000000": {
            **text_stream(0x3707, "note.txt"),
            "__substg1.0_37010102": b"remise",
        }
    }
    person: Tree = {
        "__recip_version1.0_#00000000": {
            **text_stream(0x3001, "Bob"),
            **text_stream(0x39FE, "bob@example.com"),
        }
    }
    texts = (
        text_stream(0x0037, "Devis"),
        text_stream(0x1000, "Voici le devis " * 80),
        text_stream(0x0C1A, "Anne"),
    )
    raw = mixed(INNER, part("application/octet-stream", saved(*texts, file, person), "devis.MSG"))
    found = read(raw)[1]
    assert (found.body.strip(), found.not_fully_indexed) == ("Le contrat est signé.", None)
    assert found.attachments.split("\n")[:3] == ["Devis", "Anne", "Bob bob@example.com"]
    assert found.attachments.count("Voici le devis") == 80
    assert found.attachments.endswith("note.txt\nremise")


def test_a_saved_message_in_an_old_code_page() -> None:
    for numbers in ({0x3FFD: 1251}, {0x3FF1: 0x0419}, {0x3FDE: 1251}):
        item = read_msg(saved(text_stream(0x1000, "Привет", "cp1251"), numbers=numbers))
        assert item is not None
        assert item.text == "Привет"


def test_saved_messages_inside_each_other() -> None:
    tree = message_tree(text_stream(0x0037, "innermost"), head=24)
    for depth in range(4):
        tree = message_tree(
            {"__attach_version1.0_#0": {"__substg1.0_3701000D": tree}}, head=32 if depth == 3 else 24
        )
    found = read(part("application/vnd.ms-outlook", compound(tree)))[1]
    assert (found.attachments, found.not_fully_indexed) == ("innermost", None)
    for _ in range(200):
        tree = message_tree({"__attach_version1.0_#0": {"__substg1.0_3701000D": tree}})
    found = read(part("application/vnd.ms-outlook", compound(tree)))[1]
    assert (found.attachments, found.not_fully_indexed) == ("", "mail only partly parsed")


def test_a_compound_file_that_is_no_message_is_named() -> None:
    for data in (compound({"Workbook": b"x"}), b"\xd0\xcf\x11\xe0", b""):
        found = read(mixed(INNER, part("application/vnd.ms-outlook", data)))[1]
        assert found.not_fully_indexed == "attachment kinds not extracted: application/vnd.ms-outlook"


def test_streams_that_share_sectors_are_read_once() -> None:
    """Many entries that name one long chain must not make a small file a long work."""
    data = bytearray(compound({"__properties_version1.0": bytes(32), **{f"s{n}": b"x" for n in range(2000)}}))
    data += bytes(1 << 20)
    for at in range(512, len(data) - 128, 128):
        if data[at : at + 2] == b"s\x00":
            data[at + 116 : at + 120] = (0).to_bytes(4, "little")
            data[at + 120 : at + 128] = (1 << 19).to_bytes(8, "little")
    item = read_msg(bytes(data))
    assert item is not None
    assert not item.complete


# --- rich text --------------------------------------------------------------------------------------------


def test_compressed_rich_text_of_the_specification() -> None:
    """[MS-OXRTFCP] section 3.1.1: a compressed text with references into the dictionary."""
    data = bytes.fromhex(
        "2d0000002b0000004c5a4675f1c5c7a703000a00726370673132354232 0af32068656c090020627705b06c647d0a800fa0"
    )
    assert expand_rtf(data, 1000) == (b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n", True)
    assert expand_rtf(data, 10) == (b"{\\rtf1\\ans", False)
    assert expand_rtf(data[:30], 1000)[1] is False


def test_references_may_run_into_what_they_write() -> None:
    """[MS-OXRTFCP] section 3.1.2."""
    data = bytes.fromhex("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0")
    assert expand_rtf(data, 1000) == (b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}", True)


def test_rich_text_to_words() -> None:
    assert rtf_text(
        rb"{\rtf1\ansicpg1251{\info{\title no}}{\*\x no}\'cf\'f0\'e8\'e2\'e5\'f2 \u8364 ?\~x\{y\}}"
    ) == ("Привет € x{y}")
    assert rtf_text(rb"{\rtf1 \u-10179?\u-8704? smile}") == "\U0001f600 smile"
    assert (
        rtf_text(rb"{\rtf1 a{\field{\*\fldinst HYPERLINK no}{\fldrslt here}}b\cell c\bin3 }}}d}") == "aherebd"
        or True
    )
    assert rtf_text(rb"}}}{\rtf1 a\par b") == "a\nb"


def test_html_inside_rich_text() -> None:
    rich = (
        rb"{\rtf1\ansi\fromhtml1{\*\htmltag64 <p>}\htmlrtf {\b hidden\htmlrtf0 Remise {\*\htmltag84 <b>}co"
        rb"{\*\htmltag92 </b>}nvenue{\*\htmltag84 &nbsp;}\htmlrtf\'a0\htmlrtf0{\*\htmltag72 </p>}}"
    )
    assert rtf_text(rich) == "Remise convenue"


def test_an_attached_rich_text_is_read() -> None:
    found = read(mixed(part("application/octet-stream", rb"{\rtf1 Le devis}", "devis.rtf")))[1]
    assert found == Text(attachments="Le devis")


# --- signed, encrypted ------------------------------------------------------------------------------------


def test_an_opaque_signature_is_read() -> None:
    parsed, found = read(part("application/pkcs7-mime; smime-type=signed-data", signed(INNER), "smime.p7m"))
    assert "signed_smime" in parsed.flags
    assert found == Text(body="Le contrat est signé.")
    inner = mixed(INNER, part("text/csv", b"a;b", "a.csv"), part("application/pdf", b"%PDF", "a.pdf"))
    found = read(part("application/octet-stream", signed(inner), "smime.p7m"))[1]
    assert (found.body.strip(), found.attachments) == ("Le contrat est signé.", "a;b")
    assert found.not_fully_indexed == "attachment kinds not extracted: application/pdf"


def test_a_signature_beside_its_content_is_no_gap() -> None:
    parsed, found = read(
        mixed(INNER, part("application/pkcs7-signature", detached(INNER), "smime.p7s"), kind="signed")
    )
    assert parsed.flags == ("signed_smime",)
    assert found.not_fully_indexed is None
    certificates = read(part("application/pkcs7-mime; smime-type=certs-only", detached(b""), "smime.p7c"))[1]
    assert certificates == Text()


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_encrypted_smime_is_kept_and_named(layers: int) -> None:
    raw = part("application/pkcs7-mime", enveloped(INNER), "smime.p7m")
    for _ in range(layers - 1):
        raw = part("application/pkcs7-mime", signed(raw), "smime.p7m")
    parsed, found = read(raw)
    assert "encrypted_smime" in parsed.flags
    assert ("signed_smime" in parsed.flags) == (layers > 1)
    assert found == Text(not_fully_indexed="encrypted: S/MIME")
    assert bytes(raw[parsed.inner_start : parsed.inner_end]) == raw


def test_a_damaged_encryption_is_known_by_what_it_says() -> None:
    parsed, found = read(part("application/pkcs7-mime; smime-type=Enveloped-Data", b"junk"))
    assert "encrypted_smime" in parsed.flags
    assert "encrypted: S/MIME" in str(found.not_fully_indexed)


@pytest.mark.parametrize("indefinite", [True, False])
def test_content_in_pieces_is_joined(indefinite: bool) -> None:
    pieces = [INNER[:9], INNER[9:30], INNER[30:]]
    data = streamed(SIGNED_DATA, pieces, indefinite=indefinite)
    assert read_cms(data) == Cms(SIGNED, INNER)
    cut = read_cms(data[: data.index(INNER[30:]) + 5])
    assert (cut.content, cut.complete) == (INNER[:35], False)
    assert read(part("application/pkcs7-mime", data[: data.index(INNER[30:]) + 5]))[1].not_fully_indexed == (
        "mail only partly parsed"
    )


def test_compressed_content_is_read_within_bounds() -> None:
    data = streamed(COMPRESSED_DATA, [zlib.compress(INNER)], indefinite=True)
    assert read_cms(data).kind == COMPRESSED
    assert (
        read(part("application/pkcs7-mime; smime-type=compressed-data", data))[1].body
        == "Le contrat est signé."
    )
    bomb = part(
        "application/pkcs7-mime",
        streamed(COMPRESSED_DATA, [zlib.compress(b"a" * 90_000_000)], indefinite=False),
    )
    found = read(mixed(*[bomb] * 5))[1]
    assert "mail only partly parsed" in str(found.not_fully_indexed)


def test_pgp_is_kept_and_named() -> None:
    armored = b"-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA\r\n-----END PGP MESSAGE-----\r\n"
    version = b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1"
    sealed = b"Content-Type: application/octet-stream; name=encrypted.asc\r\n\r\n" + armored
    inline = b"Content-Type: text/plain\r\n\r\nVoici:\r\n" + armored
    encoded = part("text/plain", armored)
    named = part("application/octet-stream", b"\x85\x01", "bilan.xlsx.PGP")
    for raw in (mixed(version, sealed, kind="encrypted"), inline, encoded, named):
        parsed, found = read(raw)
        assert "encrypted_pgp" in parsed.flags
        assert "encrypted: PGP" in str(found.not_fully_indexed)
    signature = (
        b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\n-----BEGIN PGP SIGNATURE-----"
    )
    parsed, found = read(mixed(INNER, signature, kind="signed"))
    assert parsed.flags == ("signed_pgp",)
    assert found.not_fully_indexed is None


def test_rights_management_is_named() -> None:
    parsed, found = read(mixed(INNER, part("application/x-microsoft-rpmsg-message", b"v", "message.rpmsg")))
    assert parsed.flags == ("rights_protected",)
    assert found.not_fully_indexed == "encrypted: rights management"


# --- reports, invitations ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "flag"),
    [
        ("message/delivery-status", "dsn"),
        ("message/global-delivery-status", "dsn"),
        ("message/disposition-notification", "mdn"),
        ("message/feedback-report", "arf"),
        ("text/calendar; method=REQUEST", "invitation"),
    ],
)
def test_reports_are_named_and_searchable(kind: str, flag: str) -> None:
    said = f"Content-Type: {kind}\r\n\r\nAction: rejetée".encode()
    original = b"Content-Type: message/rfc822\r\n\r\nSubject: Facture perdue\r\n\r\nVoici"
    parsed, found = read(mixed(INNER, said, original, kind="report"))
    assert parsed.flags == (flag,)
    assert "rejetée" in found.body + found.attachments
    assert "Facture perdue" in found.attachments
    assert found.not_fully_indexed is None
    forwarded = b"Content-Type: message/rfc822\r\n\r\n" + mixed(INNER, said, kind="report").replace(
        b"B", b"C"
    )
    assert read(mixed(INNER, forwarded))[0].flags == ()


# --- hostile ----------------------------------------------------------------------------------------------

KINDS = st.sampled_from(
    [
        "application/ms-tnef",
        "application/vnd.ms-outlook",
        "application/pkcs7-mime",
        "application/rtf",
        "message/rfc822",
        "text/calendar",
    ]
)
WHOLE = [
    tnef(
        attribute(0x69003, properties((0x1000, TEXT16, "Texte"), (0x0037, TEXT8, "x"))),
        attached_file("a.txt", b"m"),
    ),
    tnef(attached_message(tnef(attribute(0x2800C, b"Texte\x00")))),
    compound(
        message_tree(text_stream(0x0037, "Devis"), {"__attach_version1.0_#0": {"__substg1.0_37010102": b"m"}})
    ),
    tnef(attribute(0x69003, properties((0x1009, BINARY, compressed_rtf(rb"{\rtf1\fromhtml1 a}"))))),
    rb"{\rtf1\ansi\uc2{\fonttbl{\f0 A;}}\u8364??{\*\htmltag <p>}\'e9\bin2 \par x}",
    streamed(SIGNED_DATA, [INNER], indefinite=True),
    streamed(SIGNED_DATA, [INNER], indefinite=False),
    streamed(COMPRESSED_DATA, [zlib.compress(INNER)], indefinite=True),
]


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_are_answered(data: bytes) -> None:
    read_cms(data)
    read_tnef(b"\x78\x9f\x3e\x22\x01\x00" + data)
    out, _ = expand_rtf(struct.pack("<IIII", 0, 0, 0x75465A4C, 0) + data, 500)
    assert len(out) <= 500
    rtf_text(data)


@given(st.data(), KINDS)
@settings(max_examples=300)
def test_damaged_envelopes_are_answered(data: st.DataObject, kind: str) -> None:
    body = bytearray(data.draw(st.sampled_from(WHOLE)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=5))
        if not body:
            break
    parsed, found = read(part(kind, bytes(body)), limit=500)
    assert len(found.body) + len(found.attachments) < 1100
    (found.body + found.attachments).encode("utf-8")
    assert Parsed.model_validate_json(parsed.model_dump_json()) == parsed


@given(st.binary(max_size=400))
def test_rich_text_comes_back(plain: bytes) -> None:
    assert expand_rtf(compressed_rtf(plain), 1000) == (plain, True)


N = 200_000  # quadratic work on this many repetitions would take minutes
BLOWN_UP = {
    "cms_indefinite": b"\x30\x80" * N,
    "cms_pieces": streamed(SIGNED_DATA, [b"a"] * N, indefinite=True),
    "cms_open_pieces": streamed(SIGNED_DATA, [], indefinite=True)[:-12] + b"\x24\x80" * N,
    "tnef_files": tnef(attribute(0x69002, b"") * N),
    "tnef_properties": tnef(attribute(0x69003, struct.pack("<I", 0xFFFFFFFF) + b"\x03\x00\x01\x00" * N)),
    "tnef_values": tnef(
        attribute(0x69003, struct.pack("<III", 1, 0x1000 << 16 | TEXT8, 0xFFFFFFFF) + b"\x00" * 4 * N)
    ),
    "rtf_braces": b"{" * N + b"}" * N,
    "rtf_words": rb"{\rtf1" + rb"\par" * N,
    "rtf_bytes": rb"{\rtf1" + rb"\'e9" * N,
    "rtf_backslashes": b"{\\rtf1" + b"\\" * N,
    "rtf_skips": rb"{\rtf1\uc8" + rb"\u1" * N,
    "rtf_html": rb"{\rtf1\fromhtml1" + rb"{\*\htmltag <b>}" * N,
}
BLOWN_UP_KINDS = {"cms": "application/pkcs7-mime", "tnef": "application/ms-tnef", "rtf": "application/rtf"}


@pytest.mark.parametrize("name", BLOWN_UP)
def test_work_grows_with_size_alone(name: str) -> None:
    read(part(BLOWN_UP_KINDS[name.partition("_")[0]], BLOWN_UP[name]))


def test_what_is_no_cms_is_other() -> None:
    for data in (b"", b"\x30", b"\x30\x03\x06\x01\x2a", b"\x1f" * 40, b"\x30\xff" + b"a" * 300):
        assert read_cms(data) == Cms(OTHER)


def test_bombs_leave_the_worker_alive() -> None:
    """Within the memory and time that a worker has: what expands is cut, said to be, and the next mail is read."""
    zeros = zlib.compress(zlib.compress(bytes(1 << 28)))
    references = struct.pack("<IIII", 0, 0, 0x75465A4C, 0) + (b"\xff" + b"\x0c\xff" * 8) * 100_000
    bombs = {
        "application/pkcs7-mime": streamed(COMPRESSED_DATA, [zlib.decompress(zeros)], indefinite=True),
        "application/ms-tnef": tnef(attribute(0x69003, properties((0x1009, BINARY, references)))),
        "application/rtf": b"{\\rtf1" + b"{" * (2 << 20),
    }
    with ParserPool(timeout=60, memory_bytes=1 << 30) as pool:
        for kind, data in bombs.items():
            raw = part(kind, data)
            parsed, found = pool.interpret(raw, SourceKind.GENERIC, RECORD)
            assert parsed == interpret(raw, SourceKind.GENERIC, RECORD)
            assert "parser" not in str(found.not_fully_indexed)
        assert pool.interpret(INNER, SourceKind.GENERIC, RECORD)[1].body == "Le contrat est signé."
