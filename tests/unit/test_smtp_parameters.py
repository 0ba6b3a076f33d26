"""MAIL, RCPT and BDAT arguments: what is understood, what is refused and with which reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.smtp.parameters import MailArguments, parse_bdat, parse_mail, parse_rcpt
from ingest.smtp.replies import Refused

TEXT = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(list('<>@:"\\ ,.=-ab[]();\t'))).map("".join))


@pytest.mark.parametrize(
    ("argument", "address"),
    [
        ("FROM:<>", ""),
        ("from: < >", ""),
        ("FROM:<a@b.test>", "a@b.test"),
        ("FROM: <a@b.test>", "a@b.test"),
        ("FROM:a@b.test", "a@b.test"),
        ("FROM:<postmaster>", "postmaster"),
        ("FROM:<@one.test,@two.test:a@b.test>", "a@b.test"),
        ('FROM:<"a > b"@b.test>', '"a > b"@b.test'),
        ('FROM:<"a\\"> b"@b.test>', '"a\\"> b"@b.test'),
        ('FROM:"a b"@b.test', '"a b"@b.test'),
        ("FROM:<a..b@[192.0.2.1]>", "a..b@[192.0.2.1]"),
        ("FROM:<odd one@b.test>", "odd one@b.test"),
        ("FROM:<élise@société.test>", "élise@société.test"),
        ("FROM:<\\xe9@b.test>", "\\xe9@b.test"),
    ],
)
def test_sender_paths(argument: str, address: str) -> None:
    assert parse_mail(argument) == MailArguments(address)


def test_parameters_are_recorded_as_written() -> None:
    parsed = parse_mail("FROM:<a@b.test> size=12 Body=BinaryMime SMTPUTF8 RET=HDRS ENVID=QQ314159 AUTH=<>")
    assert parsed.given == ("size=12", "Body=BinaryMime", "SMTPUTF8", "RET=HDRS", "ENVID=QQ314159", "AUTH=<>")
    assert parsed.size == 12
    assert parsed.binary
    assert parse_mail("FROM:<a@b.test>SIZE=3") == MailArguments("a@b.test", ("SIZE=3",), 3)


@pytest.mark.parametrize(
    ("argument", "start"),
    [
        ("", b"501 5.5.4"),
        ("<a@b.test>", b"501 5.5.4"),
        ("FROM <a@b.test>", b"501 5.5.4"),
        ("FROM:", b"501 5.1.7"),
        ("FROM:<a@b.test", b"501 5.1.7"),
        ("FROM:<<a@b.test>>", b"501 5.1.7"),
        ("FROM:<@route.test>", b"501 5.1.7"),
        ("FROM:<@route.test:>", b"501 5.1.7"),
        ('FROM:"a@b.test', b"501 5.1.7"),
        ("FROM:<a@b.test> SIZE", b"501 5.5.4"),
        ("FROM:<a@b.test> SIZE=", b"501 5.5.4"),
        ("FROM:<a@b.test> SIZE=-1", b"501 5.5.4"),
        ("FROM:<a@b.test> SIZE=1 SIZE=2", b"501 5.5.4"),
        ("FROM:<a@b.test> SIZE=123456789012345678901", b"501 5.5.4"),
        ("FROM:<a@b.test> BODY=9BIT", b"501 5.5.4"),
        ("FROM:<a@b.test> BODY", b"501 5.5.4"),
        ("FROM:<a@b.test> SMTPUTF8=1", b"501 5.5.4"),
        ("FROM:<a@b.test> =1", b"501 5.5.4"),
        ("FROM:<a@b.test> MT-PRIORITY=3", b"555 5.5.4"),
        ("FROM:<a@b.test> HELLO", b"555 5.5.4"),
    ],
)
def test_bad_mail_arguments(argument: str, start: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_mail(argument)
    assert refused.value.reply.wire.startswith(start)


def test_recipient_paths() -> None:
    assert parse_rcpt("TO:<J@A.test> NOTIFY=NEVER ORCPT=rfc822;j@a.test") == "J@A.test"
    assert parse_rcpt("to: j@a.test") == "j@a.test"


@pytest.mark.parametrize(
    ("argument", "start"),
    [
        ("", b"501 5.5.4"),
        ("TO:<>", b"501 5.1.3"),
        ("TO:", b"501 5.1.3"),
        ("TO:<j@a.test", b"501 5.1.3"),
        ("TO:<j@a.test> SIZE=1", b"555 5.5.4"),
    ],
)
def test_bad_recipient_arguments(argument: str, start: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_rcpt(argument)
    assert refused.value.reply.wire.startswith(start)


@pytest.mark.parametrize(
    ("argument", "expected"), [("0 LAST", (0, True)), ("12", (12, False)), ("7 last", (7, True))]
)
def test_bdat_arguments(argument: str, expected: tuple[int, bool]) -> None:
    assert parse_bdat(argument) == expected


@pytest.mark.parametrize("argument", [None, "", "LAST", "-1", "1.5", "٣", "5 LAST LAST", "5 FIRST"])
def test_bad_bdat_arguments(argument: str | None) -> None:
    with pytest.raises(Refused) as refused:
        parse_bdat(argument)
    assert refused.value.reply.wire.startswith(b"501 5.5.4")


@given(TEXT)
def test_no_argument_does_anything_but_parse_or_be_refused(text: str) -> None:
    for parse, keyword in ((parse_mail, "FROM:"), (parse_rcpt, "TO:"), (parse_bdat, "")):
        for argument in (text, keyword + text, f"{keyword}<{text}>"):
            try:
                parse(argument)
            except Refused as refused:
                assert refused.reply.wire.startswith(b"5")


@given(st.from_regex(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,100}", fullmatch=True))
def test_ordinary_addresses_come_out_as_written(address: str) -> None:
    assert parse_mail(f"FROM:<{address}>").address == address
    assert parse_rcpt(f"TO:<{address}>") == address
