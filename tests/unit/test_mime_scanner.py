"""Structure by byte offsets: boundaries, header blocks, nesting, transfer encodings, part paths."""

import base64
import binascii
import hashlib
import quopri

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.mime.body import decode_body
from ingest.mime.markup import calendar_text, html_charset, html_text
from ingest.mime.parts import list_parts
from ingest.mime.scanner import MAX_DEPTH, scan, scan_headers


def crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8")


def bodies(raw: bytes) -> list[bytes]:
    return [raw[leaf.body : leaf.end] for leaf in scan(raw, 0, len(raw)).root.leaves()]


MIXED = (
    "Content-Type: multipart/mixed; boundary=B\n\npreamble\n--B\n\none\n"
    "--B  \nA: b\n\ntwo\n\n--B--\nepilogue\n--B\n\nno\n"
)


@pytest.mark.parametrize("raw", [crlf(MIXED), MIXED.encode()], ids=["crlf", "lf"])
def test_parts_lie_between_delimiters(raw: bytes) -> None:
    assert [body.replace(b"\r", b"") for body in bodies(raw)] == [b"one", b"two\n"]


def test_a_delimiter_after_the_last_field_ends_the_header() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=B\nMIME-Version: 1.0\n--B\nContent-Type: text/html\n\none\n--B--\n"
    (part,) = scan(raw, 0, len(raw)).root.children
    assert (part.content_type, raw[part.body : part.end]) == ("text/html", b"one")


def test_line_ends_may_be_mixed() -> None:
    assert bodies(b"Content-Type: multipart/mixed; boundary=B\n\r\n--B\r\n\none\r\n--B\n\r\ntwo\n--B--") == [
        b"one",
        b"two",
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"--B\n\none\n--B\n\ntwo\n", [b"one", b"two\n"]),  # no closing delimiter
        (b"--B\n\none\n--Bc\n\nx\n--B--\n", [b"one\n--Bc\n\nx"]),  # a longer line is none of ours
        (b"--B\nA: b\n--B--\n", [b""]),  # a header and nothing else
        (b"--B\n--B\n\n--B--", [b"", b""]),
        (b"--B", [b""]),
        (b"--B--\n", []),
        (b"x --B\n\none\n--B--", []),
        (b"", []),
    ],
)
def test_odd_multiparts(body: bytes, expected: list[bytes]) -> None:
    raw = b"Content-Type: multipart/mixed; boundary=B\n\n" + body
    found = [raw[e.body : e.end] for e in scan(raw, 0, len(raw)).root.children]
    assert found == expected


def test_an_outer_delimiter_ends_inner_parts() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=out\n\n--out\nContent-Type: multipart/alternative; boundary=in\n\n"
        b"--in\n\none\n--out\n\ntwo\n--out--"
    )
    parts = list_parts(raw, scan(raw, 0, len(raw)))
    assert [(part.path, raw[part.start : part.end]) for part in parts] == [("1.1", b"one"), ("2", b"two")]


def test_paths_follow_imap() -> None:
    """The example of RFC 9051 section 6.4.5.1."""

    def multi(boundary: str, *parts: str) -> str:
        body = "".join(f"--{boundary}\n{part}\n" for part in parts)
        return f"Content-Type: multipart/mixed; boundary={boundary}\n\n{body}--{boundary}--"

    text, image = "Content-Type: text/plain\n\nt", "Content-Type: image/gif\n\ng"
    data = "Content-Type: application/octet-stream\n\nd"
    inner3 = "Content-Type: message/rfc822\n\n" + multi("b3", text, data)
    inner42 = "Content-Type: message/rfc822\n\n" + multi("b42", text, multi("b422", text, text))
    raw = crlf(multi("b0", text, data, inner3, multi("b4", image, inner42)))
    paths = [part.path for part in list_parts(raw, scan(raw, 0, len(raw)))]
    assert paths == ["1", "2", "3", "3.1", "3.2", "4.1", "4.2", "4.2.1", "4.2.2.1", "4.2.2.2"]


def test_a_message_that_is_a_message() -> None:
    raw = b"Content-Type: message/rfc822\n\nSubject: x\n\nbody"
    parts = list_parts(raw, scan(raw, 0, len(raw)))
    assert [(p.path, p.content_type, p.attachment) for p in parts] == [
        ("1", "message/rfc822", True),
        ("1.1", "text/plain", False),
    ]


def test_digest_parts_are_messages_by_default() -> None:
    raw = b"Content-Type: multipart/digest; boundary=B\n\n--B\n\nSubject: a\n\nx\n"
    raw += b"--B\nContent-Type: text/plain\n\ny\n--B--"
    assert [p.content_type for p in list_parts(raw, scan(raw, 0, len(raw)))] == [
        "message/rfc822",
        "text/plain",
        "text/plain",
    ]


@pytest.mark.parametrize(
    ("raw", "names", "body"),
    [
        (b"A: 1\r\n folded\r\nB : 2\r\n\r\nx", ["a", "b"], b"x"),
        (b"From x Mon Jan 1\nA: 1\n\nx", ["a"], b"x"),
        (b">From x\nA: 1\n\nx", ["a"], b"x"),
        (b"A: 1\nlost fold\nSubject: s\n\nx", ["a", "subject"], b"x"),  # the rest of the header is not lost
        (b"A: 1\nno header\nreally\n\nx", ["a"], b"no header\nreally\n\nx"),
        (b"A: 1", ["a"], b""),
        (b"\r\nx", [], b"x"),
        (b"", [], b""),
        (b"A: 1\r\r\nB: 2\r\r\n\r\r\nx", ["a", "b"], b"x"),
    ],
)
def test_header_blocks(raw: bytes, names: list[str], body: bytes) -> None:
    headers = scan_headers(raw, 0, len(raw))
    assert [name for name, _ in headers.fields] == names
    assert raw[headers.end :] == body


def test_nesting_and_parts_are_bounded() -> None:
    deep = b"Content-Type: message/rfc822\n\n" * 100 + b"x"
    tree = scan(deep, 0, len(deep))
    assert not tree.complete
    assert len(list(tree.root.leaves())) == MAX_DEPTH + 1
    many = b"Content-Type: multipart/mixed; boundary=B\n\n" + b"--B\n\nx\n" * 50
    tree = scan(many, 0, len(many), max_parts=20)
    assert not tree.complete
    assert len(tree.root.children) == 19
    assert scan(many, 0, len(many)).complete


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=6), st.sampled_from([b"\n", b"\r\n"]))
@settings(max_examples=150)
def test_what_is_put_between_delimiters_is_found_there(contents: list[bytes], end: bytes) -> None:
    parts = [content.replace(b"--", b"..") for content in contents]
    raw = b"Content-Type: multipart/mixed; boundary=B" + end * 2
    raw += b"".join(b"--B" + end * 2 + part + end for part in parts) + b"--B--" + end
    found = [raw[e.body : e.end] for e in scan(raw, 0, len(raw)).root.children]
    assert [a.rstrip(b"\r") for a in found] == [b.rstrip(b"\r") for b in parts]


@pytest.mark.parametrize(
    ("encoding", "encoded", "decoded"),
    [
        ("base64", b"QUJD", b"ABC"),
        ("base64", b"QU\r\nJD!R", b"ABC"),
        ("base64", b"QUI", b"AB"),
        ("base64", b"QQ==\n--\nlist footer, in clear\n", b"A"),
        ("base64", b"QQ==\nQg==\n", b"AB"),
        ("base64", b"====", b""),
        ("quoted-printable", b"caf=C3=A9 =\r\nx=3D =ZZ", b"caf\xc3\xa9 x= =ZZ"),
        ("quoted-printable", b"a= \r\nb", b"ab"),
        ("uuencode", b"begin 644 x\r\n#86)C\r\n`\r\nend\r\n", b"abc"),
        ("uuencode", b"nothing here", b"nothing here"),
        ("8bit", b"\xe9", b"\xe9"),
        ("x-unknown", b"QUJD", b"QUJD"),
    ],
)
def test_transfer_encodings(encoding: str, encoded: bytes, decoded: bytes) -> None:
    assert bytes(decode_body(encoded, 0, len(encoded), encoding)) == decoded


@given(st.binary(max_size=200), st.sampled_from(["base64", "quoted-printable", "uuencode"]))
@settings(max_examples=200)
def test_encodings_are_undone(data: bytes, encoding: str) -> None:
    lines = (binascii.b2a_uu(data[n : n + 45]) for n in range(0, len(data), 45))
    encoded = {
        "base64": base64.encodebytes(data),
        "quoted-printable": quopri.encodestring(data.replace(b"\r", b"")),
        "uuencode": b"begin 644 x\n" + b"".join(lines) + b"`\nend\n",
    }[encoding]
    wanted = data.replace(b"\r", b"") if encoding == "quoted-printable" else data
    assert bytes(decode_body(encoded, 0, len(encoded), encoding)) == wanted
    decode_body(data, 0, len(data), encoding)  # arbitrary bytes have a reading too


def test_a_part_is_described_by_its_decoded_bytes() -> None:
    raw = crlf(
        "Content-Type: Application/PDF; name=ignored.pdf\nContent-Transfer-Encoding: BASE64\n"
        "Content-Disposition: Attachment; filename=a.pdf\n\nQUJD\n"
    )
    (part,) = list_parts(raw, scan(raw, 0, len(raw)))
    assert (part.size, part.sha256) == (3, hashlib.sha256(b"ABC").hexdigest())
    assert (part.content_type, part.encoding, part.disposition) == ("application/pdf", "base64", "attachment")
    assert (part.filename, part.attachment, part.path) == ("a.pdf", True, "1")
    assert raw[part.start : part.end] == b"QUJD\r\n"


@pytest.mark.parametrize(
    ("header", "attachment"),
    [
        ("Content-Type: text/plain", False),
        ("Content-Type: text/plain; name=x.txt", True),
        ("Content-Type: text/html\nContent-Disposition: attachment", True),
        ("Content-Type: image/png\nContent-Disposition: inline", True),
        ("Content-Type: message/delivery-status", False),
        ("Content-Type: text/calendar; method=REQUEST", False),
        ("Content-Type: nonsense", False),
        ("", False),
    ],
)
def test_what_an_attachment_is(header: str, attachment: bool) -> None:
    raw = crlf(header + "\n\nx")
    assert [part.attachment for part in list_parts(raw, scan(raw, 0, len(raw)))] == [attachment]


def test_html_words() -> None:
    html = (
        "<html><head><title>T</title><style>p{}</style></head><body><p>a <b>con</b>trat &eacute;t&eacute;&nbsp;x<br>y"
        "<table><tr><td>1</td><td>2</td></tr></table><script>var p='<p>'</script><!-- c -->&lt;b&gt;"
    )
    assert html_text(html) == "T\na contrat été x\ny\n1\n2\n<b>"
    assert html_text("") == ""


def test_absurdly_deep_html_keeps_its_words() -> None:
    assert html_text("<div>" * 30_000 + "mot &eacute;crit" + "</div>" * 30_000) == "mot écrit"


def test_html_and_calendar_details() -> None:
    assert (
        html_charset(b'<html><meta http-equiv=x content="text/html; charset=windows-1251">') == "windows-1251"
    )
    assert html_charset(b"<html>") is None
    assert calendar_text("SUMMARY:Point \r\n livraison\\, quai\\n4") == "SUMMARY:Point livraison, quai\n4"
