"""Header values, addresses, dates, charsets: what real mail writes, and what it should have written."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.mime.addresses import parse_addresses
from ingest.mime.charsets import codec_for, decode
from ingest.mime.dates import parse_date, parse_report_date
from ingest.mime.headers import decode_value, parse_media


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"=?utf-8?b?w6k=?= =?utf-8?b?w6k=?=", "éé"),
        (b"=?utf-8?b?w6?= =?utf-8?b?qQ==?=", "é"),  # one character split between words
        (b"=?utf-8?q?a_b?=\r\n\t=?iso-8859-1?Q?=E9?=", "a bé"),
        (b"a =?iso-8859-1?q?=E9?= b", "a é b"),
        (b"=?utf-8*fr?Q?x?=", "x"),
        (b"=?utf-8?Q?with space?=", "with space"),
        (b"=?x-unknown?q?=E9?=", "é"),
        (b"=?idna?q?xn--abc?=", "xn--abc"),
        (b"=?utf-7?q?+2AA-?=", "\ufffd"),  # a lone surrogate has no place in a database
        (b"=?utf-8?q?broken", "=?utf-8?q?broken"),
        (b"=?iso-8859-1?Q?Fr\xf6sche?=", "Frösche"),  # words that should be ASCII and are not
        ("=?iso-8859-1?Q?Frösche?=".encode(), "Frösche"),
        ("=?utf-8?Q?Frösche?=".encode(), "Frösche"),
        ("=?koi8-r?Q?Привет?=".encode("koi8-r"), "Привет"),
        ("=?koi8-r?Q?Привет?=".encode(), "Привет"),
        (b"caf\xe9", "café"),
        ("café 📎 見積書".encode(), "café 📎 見積書"),
        (b"\x1b$B8+@Q\x1b(B", "見積"),
        (b"a\r\n b\x00c", "a b c"),
        (b"", ""),
    ],
)
def test_unstructured_values(value: bytes, text: str) -> None:
    assert decode_value(value) == text


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=60))
@settings(max_examples=100)
def test_an_encoded_word_gives_its_text_back(text: str) -> None:
    word = b"=?utf-8?b?" + base64.b64encode(text.encode()) + b"?="
    assert decode_value(b"x " + word + b" y") == f"x {text} y"


@pytest.mark.parametrize(
    ("value", "kind", "parameters"),
    [
        (b"Text/Plain; Charset=UTF-8", "text/plain", {"charset": "UTF-8"}),
        (
            b'text/plain charset="a"; name=This is it.txt; x',
            "text/plain",
            {"charset": "a", "name": "This is it.txt"},
        ),
        (b"a/b; name*0*=utf-8''caf%C3%A9; name*1=.pdf", "a/b", {"name": "café.pdf"}),
        (b"a/b; name*1=b; name*0=a", "a/b", {"name": "ab"}),
        (b"a/b; filename*=iso-8859-1'fr'r%E9sum%E9.txt; filename=x", "a/b", {"filename": "résumé.txt"}),
        (b'a/b; filename="=?utf-8?q?=C3=A9?=.txt"', "a/b", {"filename": "é.txt"}),
        (b'a/b; filename="\xc3\xa9.txt"', "a/b", {"filename": "é.txt"}),
        (b'a/b; filename="C:\\tmp\\new.doc"', "a/b", {"filename": "C:\\tmp\\new.doc"}),
        (b'a/b; n="say \\"hi\\""; m=1', "a/b", {"n": 'say "hi"', "m": "1"}),
        (b'a/b; n="unterminated; x=1', "a/b", {"n": "unterminated", "x": "1"}),
        (b'a/b; n="a;b"', "a/b", {"n": "a;b"}),
        (b"a/b; x=1; x=2", "a/b", {"x": "1"}),
        (b";;;; =x; y", "", {}),
    ],
)
def test_media_parameters(value: bytes, kind: str, parameters: dict[str, str]) -> None:
    media = parse_media(value)
    assert (media.value, media.parameters) == (kind, parameters)


def test_a_boundary_is_bytes_whatever_it_spells() -> None:
    assert parse_media(b'multipart/mixed; boundary="=?utf-8?q?x?="').boundary == b"=?utf-8?q?x?="
    assert parse_media(b"multipart/mixed; boundary=----=_Next_01").boundary == b"----=_Next_01"
    assert parse_media(b'multipart/mixed; boundary="\xe9 "').boundary == b"\xe9"


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ('"Doe, John" <j@x.fr>, bob@y.fr', ["j@x.fr", "bob@y.fr"]),
        ("Doe, John <j@x.fr>", ["j@x.fr"]),
        ("root, bob@x.fr", ["root", "bob@x.fr"]),
        ("undisclosed-recipients:;", []),
        ('G: a@b.fr, "C" <c@d.fr>; e@f.fr', ["a@b.fr", "c@d.fr", "e@f.fr"]),
        ("<@a.fr,@b.fr:c@d.fr>", ["c@d.fr"]),
        ("Foo <a@b.fr", ["a@b.fr"]),
        ("Foo <a@b.fr, Bar <c@d.fr>", ["a@b.fr", "c@d.fr"]),
        ('"Foo <a@b.fr>, "Bar" <c@d.fr>', ["c@d.fr", "a@b.fr"]),  # nothing that looks like one is lost
        ("'a@b.fr' <a@b.fr>", ["a@b.fr"]),
        ('"a@b.fr"', ["a@b.fr"]),
        ("mailto:x@y.fr", ["x@y.fr"]),
        ("a @ b.fr", ["a@b.fr"]),
        ("(c (n) x) a@b.fr (z)", ["a@b.fr"]),
        ("pete(his account)@silly.test(his host)", ["pete@silly.test"]),
        ("(unclosed a@b.fr", ["a@b.fr"]),
        ('"john doe"@x.fr', ['"john doe"@x.fr']),
        ('<"a,b"@x.fr>', ['"a,b"@x.fr']),
        ("a@b.fr; c@d.fr", ["a@b.fr", "c@d.fr"]),
        ("=?utf-8?q?Doe,_John?= <j@x.fr>", ["j@x.fr"]),
        ("=?utf-8?q?foo=40bar.fr?=", ["foo@bar.fr"]),
        ("user@[IPv6:::1]", ["user@[IPv6:::1]"]),
        ("IMCEAEX-_O=ORG_OU=X+20Y_cn=a+2Eb@x.fr", ["IMCEAEX-_O=ORG_OU=X+20Y_cn=a+2Eb@x.fr"]),
        ("märy@exämple.fr", ["märy@exämple.fr"]),
        ("a@b.fr c@d.fr", ["a@b.fr", "c@d.fr"]),
        ("a@b.fr,,,c@d.fr", ["a@b.fr", "c@d.fr"]),
        ("@", []),
        ("<>", []),
        ("((((", []),
        ("", []),
    ],
)
def test_addresses(text: str, addresses: list[str]) -> None:
    assert parse_addresses(text) == addresses


@given(st.text(alphabet="ab@.,;:<>()\"'\\ =?[]", max_size=80))
@settings(max_examples=300)
def test_any_address_list_has_a_reading(text: str) -> None:
    for address in parse_addresses(text):
        assert address
        assert address.strip() == address


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Tue, 17 Jul 2018 14:13:25 +0100", "2018-07-17T13:13:25.000000Z"),
        ("Wed, 01 May 2019 12:20", "2019-05-01T12:20:00.000000Z"),
        ("17 Jul 2018 12:13:27.2702 (UTC)", "2018-07-17T12:13:27.000000Z"),
        ("31 Dec 2016 23:59:60 +0000", "2016-12-31T23:59:59.000000Z"),
        ("2020-01-01T10:00:00+02:00", "2020-01-01T08:00:00.000000Z"),
        ("31 Feb 2020 10:00:00 +0000", None),
        ("Mon, 1 Jan 2020 25:00:00 +0000", None),
        ("1 Jan 2500 00:00 +0000", None),
        ("1 Jan 1969 00:00 +0000", None),
        ("1 Jan 2020 00:00 +9999", None),
        ("9" * 5000, None),
        ("hier", None),
        ("", None),
    ],
)
def test_dates(text: str, moment: str | None) -> None:
    assert parse_date(text) == moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2/26/2018 9:07:22 PM", "2018-02-26T21:07:22.000000Z"),
        ("12/1/2018 12:00:00 AM", "2018-12-01T00:00:00.000000Z"),
        ("3/13/2018 21:07", "2018-03-13T21:07:00.000000Z"),
        ("2018-07-17T12:13:27Z", "2018-07-17T12:13:27.000000Z"),
        ("Tue, 17 Jul 2018 12:13:25 +0000", "2018-07-17T12:13:25.000000Z"),
        ("13/1/2018 12:00", None),
    ],
)
def test_report_dates(text: str, moment: str | None) -> None:
    assert parse_report_date(text) == moment


@given(st.text(max_size=60))
@settings(max_examples=200)
def test_any_date_has_an_answer(text: str) -> None:
    assert parse_date(text) is None or len(parse_date(text) or "") == 27
    parse_report_date(text)


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        (b"\xe9t\xe9", "iso-8859-1", "été"),
        (b"\x80", "iso-8859-1", "€"),  # what senders put under that name
        (b"\xe9t\xe9", "utf-8", "été"),  # claims UTF-8, has none
        (b"\xc3\xa9 \xff", "utf-8", "é \ufffd"),
        (b"\xe9t\xe9", None, "été"),
        ("見積".encode("gb18030"), "gb2312", "見積"),
        ("견적".encode("cp949"), "ks_c_5601-1987", "견적"),
        (b"a\x00b", "us-ascii", "a b"),
        (b"abc", "no-such-charset", "abc"),
    ],
)
def test_charsets(data: bytes, charset: str | None, text: str) -> None:
    assert decode(data, charset) == text


@pytest.mark.parametrize(
    "name", ["idna", "punycode", "zlib", "unicode_escape", "rot13", "undefined", "../x", "", "\x00"]
)
def test_names_that_are_no_charset(name: str) -> None:
    assert codec_for(name) is None


@given(
    st.binary(max_size=80),
    st.sampled_from(["utf-8", "utf-16", "utf-7", "iso-2022-jp", "hz", "big5", "gbk", "x"]),
)
@settings(max_examples=300)
def test_decoded_text_can_always_be_stored(data: bytes, charset: str) -> None:
    text = decode(data, charset)
    assert "\x00" not in text
    text.encode("utf-8")
