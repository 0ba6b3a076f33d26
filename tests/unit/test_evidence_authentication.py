"""What a message's signatures say, and what hostile headers and records make of it."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.canonical import canonical
from archive_service.model.evidence import DnsAnswer, Origin
from ingest.evidence.authentication import MOST_NAMES, MOST_SIGNATURES, examine
from ingest.parser_pool import ParserPool
from tests.unit.signed_mail import (
    DOMAIN,
    KEY_NAME,
    arc_sealed,
    ed_key,
    ed_signed,
    key_record,
    plain,
    signed,
)

AT = "2026-03-01T12:00:00.000000Z"


def answer(name: str, *texts: str, rcode: str = "NOERROR") -> DnsAnswer:
    """TXT records, each in strings of 200 bytes."""
    lines = []
    for text in texts:
        strings = " ".join(f'"{text[start : start + 200]}"' for start in range(0, max(1, len(text)), 200))
        lines.append(f"{name}. 300 IN TXT {strings}")
    return DnsAnswer(name=name, rcode=rcode, records=tuple(lines), at=AT)


def examined(mail: bytes, key: DnsAnswer | None = None, mail_from: str = "") -> Origin:
    """With this answer for the key, and nothing for any other name; as the looker does it, in two runs."""
    key = key or answer(KEY_NAME, key_record())
    _, wanted = examine(mail, mail_from, {})
    known: Mapping[str, DnsAnswer] = {
        name: key if name == KEY_NAME else answer(name, rcode="NXDOMAIN") for name in wanted
    }
    origin, more = examine(mail, mail_from, known)
    assert more == []
    return origin


def only(origin: Origin) -> Any:
    (signature,) = origin.dkim
    return signature


def test_a_good_signature_passes_and_says_what_it_covers() -> None:
    found = only(examined(signed()))
    assert (found.result, found.reason, found.domain, found.selector) == ("pass", None, DOMAIN, "s1")
    assert (found.algorithm, found.canonicalization, found.key) == ("rsa-sha256", "relaxed/relaxed", KEY_NAME)
    assert "from" in found.signed and found.body_limit is None and found.aligned == "same"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b"le devis", b"le Devis", "the body hash differs"),
        (b"Subject: devis", b"Subject: Devis", "the signature does not verify"),
    ],
)
def test_tamper_with_signed_mail_fails(before: bytes, after: bytes, reason: str) -> None:
    found = only(examined(signed().replace(before, after)))
    assert (found.result, found.reason) == ("fail", reason)


def test_what_stands_behind_the_body_limit_is_not_signed_and_that_is_said() -> None:
    """RFC 6376 section 8.2."""
    mail = signed(length=True)
    found = only(examined(mail + b"added afterwards\r\n"))
    assert found.result == "pass"
    assert found.body_limit == len(plain().partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize(
    ("key", "result", "reason"),
    [
        (answer(KEY_NAME, rcode="NXDOMAIN"), "permerror", "no key: NXDOMAIN"),
        (answer(KEY_NAME), "permerror", "no key: no TXT record"),
        (answer(KEY_NAME, rcode="TIMEOUT"), "temperror", "the DNS gave no answer: TIMEOUT"),
        (answer(KEY_NAME, rcode="SERVFAIL"), "temperror", "the DNS gave no answer: SERVFAIL"),
        (answer(KEY_NAME, "v=DKIM1; p="), "permerror", "the key was revoked"),
        (answer(KEY_NAME, key_record(), key_record()), "permerror", "several TXT records"),
        (answer(KEY_NAME, "v=DKIM1; p=AAAA"), "permerror", "the key cannot be used"),
        (answer(KEY_NAME, "hello"), "permerror", "the key cannot be used"),
    ],
    ids=["gone", "empty", "timeout", "servfail", "revoked", "several", "broken", "other"],
)
def test_a_key_that_is_none_is_said_as_such(key: DnsAnswer, result: str, reason: str) -> None:
    found = only(examined(signed(), key))
    assert found.result == result and found.reason.startswith(reason)


def test_ed25519_signatures_are_checked_too() -> None:
    """RFC 8463."""
    assert only(examined(ed_signed(), answer(KEY_NAME, ed_key()[1]))).result == "pass"
    assert only(examined(ed_signed() + b"x", answer(KEY_NAME, ed_key()[1]))).result == "fail"


@pytest.mark.parametrize(
    ("sender", "aligned"),
    [(f"a@{DOMAIN}", "same"), (f"a@mail.{DOMAIN}", "related"), ("a@autre.fr", "no"), ("a@fr", "no")],
)
def test_alignment_is_by_names_alone(sender: str, aligned: str) -> None:
    assert only(examined(signed(sender=sender))).aligned == aligned


def test_two_from_fields_have_no_domain() -> None:
    assert examined(b"From: x@autre.fr\r\n" + signed()).from_domain is None


def test_line_ends_that_were_changed_are_said() -> None:
    """An importer's mbox has LF: read as CRLF it verifies, and that is not what the file holds."""
    origin = examined(signed().replace(b"\r\n", b"\n"))
    assert only(origin).result == "pass" and origin.line_ends == "made_crlf"
    assert examined(signed()).line_ends == "as_received"


def test_an_arc_chain_passes_and_a_broken_one_fails() -> None:
    chain = arc_sealed(signed())
    arc = examined(chain).arc
    assert arc.result == "pass"
    assert [(each.instance, each.seal, each.message, each.seal_key) for each in arc.sets] == [
        (1, True, True, KEY_NAME)
    ]
    assert examined(chain.replace(b"le devis", b"le Devis")).arc.result == "fail"
    assert examined(chain, answer(KEY_NAME, rcode="SERVFAIL")).arc.result == "temperror"
    assert examined(signed()).arc.result == "none"


def test_what_servers_claim_is_verbatim_and_not_believed() -> None:
    fields = (
        b"Authentication-Results: mx.ex.fr;\r\n\tdkim=pass header.d=banque.fr\r\nReceived-SPF: pass (x)\r\n"
    )
    origin = examined(fields + plain())
    assert [(each.field, each.value) for each in origin.claims] == [
        ("authentication-results", "mx.ex.fr;\tdkim=pass header.d=banque.fr"),
        ("received-spf", "pass (x)"),
    ]
    assert origin.dkim == () and origin.spf.result == "not_evaluated"


def test_the_reverse_path_is_the_envelopes_where_that_is_the_mails_own() -> None:
    mail = b"Return-Path: <b@retour.fr>\r\n" + plain()
    spf = examined(mail, mail_from="a@enveloppe.fr").spf
    assert (spf.domain, spf.known_from, spf.record) == ("enveloppe.fr", "envelope", "enveloppe.fr")
    spf = examined(mail).spf
    assert (spf.domain, spf.known_from) == ("retour.fr", "return-path")
    assert examined(plain()).spf.domain is None


def test_many_signatures_are_bounded_and_the_rest_counted() -> None:
    field = b"DKIM-Signature: v=1; a=rsa-sha256; d=d%d.fr; s=x; h=from; bh=aaaa; b=aaaa\r\n"
    mail = b"".join(field % number for number in range(500)) + plain()
    origin, wanted = examine(mail, "", {})
    assert len(origin.dkim) == MOST_SIGNATURES and origin.more_signatures == 500 - MOST_SIGNATURES
    assert len(wanted) <= MOST_NAMES


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"\x00",
        b"\r\n\r\n",
        b" folded\r\n\r\n",
        b"DKIM-Signature: \r\n\r\n",
        b"DKIM-Signature: v=1; v=1; d=\xff; s=\xff\r\nFrom: \xff@\xff\r\n\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=a.b; s=x; h=from; i=; bh=aaaa; b=aaaa\r\n\r\n",
        b"ARC-Seal: i=9999999999; cv=none\r\n\r\n",
        b"ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.b; s=s; b=aaaa\r\n" * 60 + b"\r\n",
    ],
    ids=range(9),
)
def test_hostile_headers_are_a_result(mail: bytes) -> None:
    origin, _ = examine(mail, "", {})
    canonical(origin.plain())  # and can stand in a log


_names = st.sampled_from([b"DKIM-Signature", b"ARC-Seal", b"ARC-Message-Signature", b"From", b"Received-SPF"])
_tags = st.sampled_from(
    [b"v", b"a", b"b", b"bh", b"d", b"h", b"s", b"l", b"t", b"x", b"i", b"c", b"cv", b"q"]
)
_values = st.sampled_from(
    [
        b"1",
        b"rsa-sha256",
        b"ed25519-sha256",
        b"aaaa",
        b"ex.fr",
        b"from:to",
        b"none",
        b"99999999999999999999",
        b"\xff",
    ]
) | st.binary(max_size=12).map(lambda value: value.replace(b"\n", b"").replace(b"\r", b""))


@st.composite
def _mails(draw: st.DrawFn) -> bytes:
    fields = draw(st.lists(st.tuples(_names, st.lists(st.tuples(_tags, _values), max_size=12)), max_size=5))
    lines = [name + b": " + b"; ".join(b"=".join(tag) for tag in tags) for name, tags in fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + draw(st.binary(max_size=40))


@settings(max_examples=200, deadline=None)
@given(mail=_mails() | st.binary(max_size=200), record=st.text(max_size=60), known=st.booleans())
def test_whatever_a_header_holds_there_is_an_answer(mail: bytes, record: str, known: bool) -> None:
    _, wanted = examine(mail, "", {})
    given_ = {name: DnsAnswer(name=name, rcode="NOERROR", records=(record,), at=AT) for name in wanted}
    origin, _ = examine(mail, "", given_ if known else {})
    assert Origin.model_validate(origin.plain()) == origin
    canonical(origin.plain())
    assert all(each.result != "pass" for each in origin.dkim)


def test_it_runs_in_the_cage_with_the_same_result() -> None:
    with ParserPool(1) as pool:
        origin, wanted = pool.origin(signed(), "", {})
        assert wanted == [KEY_NAME, f"_dmarc.{DOMAIN}"]
        known = {name: answer(name, key_record()) for name in wanted}
        origin, _ = pool.origin(signed(), "", known)
    assert only(origin).result == "pass"
