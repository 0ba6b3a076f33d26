"""Tokens: what the issuer makes is taken, and nothing else."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from archive_service.access.events import Actor, RoleName
from archive_service.access.tokens import LONGEST_TOKEN, TokenIssuer, TokenVerifier
from archive_service.model.errors import ArchiveError, Denied, Invalid

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TENANT, OTHER = "a" * 20, "b" * 20
KEY, OTHER_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


PUBLIC = {TENANT: public_pem(KEY), OTHER: public_pem(OTHER_KEY)}


def verifier(at=NOW, keys=PUBLIC):
    return TokenVerifier(keys.get, clock=lambda: at)


def issued(ttl=timedelta(hours=1), role=RoleName.LEGAL, subject="lea"):
    return TokenIssuer(TENANT, private_pem(KEY)).issue(subject, role, ttl, lambda: NOW)


def claims(**changes):
    base = {
        "iss": "archive-service",
        "aud": "archive-service",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 3600,
        "jti": "j",
        "sub": "lea",
        "tenant": TENANT,
        "role": "legal",
    }
    return {name: value for name, value in (base | changes).items() if value is not ...}


def encode(data):
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(payload=None, header=None, key=KEY):
    """A token with a true signature over whatever it says."""
    text = f"{encode(header or {'alg': 'ES256', 'kid': TENANT})}.{encode(payload or claims())}"
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(SHA256())))
    return f"{text}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def refused(token, at=NOW):
    with pytest.raises(Denied) as caught:
        verifier(at).verify(token)
    assert caught.value.code == "auth.required"


@pytest.mark.parametrize("role", RoleName)
def test_an_issued_token_says_who_holds_it(role):
    assert verifier().verify(issued(role=role)) == Actor("lea", role, TENANT)


def test_the_key_is_named_by_the_tenant_and_each_token_has_its_own_id():
    header, first, _ = issued().split(".")
    second = issued().split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {
        "alg": "ES256",
        "kid": TENANT,
        "typ": "JWT",
    }
    assert first != second


def test_a_forged_form_with_a_true_signature_is_the_baseline_of_the_refusals_below():
    assert verifier().verify(forge()) == Actor("lea", RoleName.LEGAL, TENANT)
    assert verifier().verify(forge(claims(nbf=int(NOW.timestamp())))).subject == "lea"


@pytest.mark.parametrize("name", ["iss", "aud", "iat", "exp", "jti", "sub", "tenant", "role"])
def test_every_claim_is_required(name):
    refused(forge(claims(**{name: ...})))
    refused(forge(claims(**{name: None})))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another-service"},
        {"aud": ["archive-service", "another-service"]},
        {"iss": "somebody"},
        {"role": "root"},
        {"role": "LEGAL"},
        {"role": ["legal"]},
        {"exp": "9999999999"},
        {"exp": 9999999999.5},
        {"exp": True},
        {"exp": [1]},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"nbf": "0"},
        {"iat": {}},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": "x" * 257},
        {"sub": "\ud800"},
        {"tenant": OTHER},
        {"tenant": ""},
        {"tenant": "../keys"},
    ],
    ids=repr,
)
def test_a_claim_that_the_issuer_would_not_make_is_refused(changes):
    refused(forge(claims(**changes)))


def test_time_is_checked_with_thirty_seconds_of_skew():
    token = issued(timedelta(minutes=1))
    end = NOW + timedelta(minutes=1)
    verifier(end + timedelta(seconds=29)).verify(token)
    refused(token, at=end + timedelta(seconds=30))
    verifier(NOW - timedelta(seconds=30)).verify(token)
    refused(token, at=NOW - timedelta(seconds=31))


def test_a_token_for_later_is_refused_until_then():
    token = forge(claims(nbf=int(NOW.timestamp()) + 600))
    refused(token)
    verifier(NOW + timedelta(seconds=600)).verify(token)


def test_an_unsigned_token_is_refused():
    for name in ("none", "None", "NONE", ""):
        text = f"{encode({'alg': name, 'kid': TENANT})}.{encode(claims())}"
        refused(f"{text}.")
        refused(f"{text}.AA")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_the_public_key_is_no_shared_secret(algorithm):
    text = f"{encode({'alg': algorithm, 'kid': TENANT})}.{encode(claims())}"
    digest = getattr(hashlib, f"sha{algorithm[2:]}")
    refused(f"{text}.{encode(hmac.new(PUBLIC[TENANT], text.encode(), digest).digest())}")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "ES256"},
        {"alg": "ES256", "kid": None},
        {"alg": "ES256", "kid": "c" * 20},
        {"alg": "ES256", "kid": OTHER},
        {"alg": "ES256", "kid": f"../{TENANT}"},
        {"alg": "ES256", "kid": [TENANT]},
        {"alg": "ES384", "kid": TENANT},
        {"alg": "RS256", "kid": TENANT},
        {"alg": "ES", "kid": TENANT},
        {"alg": ["ES256"], "kid": TENANT},
        {"kid": TENANT},
        {"alg": "ES256", "kid": TENANT, "crit": ["exp"]},
        {"alg": "ES256", "kid": TENANT, "jwk": {"kty": "oct", "k": "AA"}},
        {"alg": "ES256", "kid": TENANT, "zip": "DEF"},
        {"alg": "ES256", "kid": TENANT, "typ": "JWE"},
        ["ES256"],
        b"not json",
        b"[" * 2000,
        b"\xff\xfe",
    ],
    ids=lambda header: str(header)[:40],
)
def test_a_header_that_the_issuer_would_not_make_is_refused(header):
    refused(forge(header=header))


def test_another_tenants_key_signs_nothing_here():
    refused(forge(key=OTHER_KEY))
    refused(forge(claims(tenant=OTHER)))
    refused(forge(header={"alg": "ES256", "kid": OTHER}, key=OTHER_KEY))  # the claim still says TENANT


@pytest.mark.parametrize("payload", [b"[" * 2000, b"[]", b'"x"', b"\xff", b"{}"], ids=repr)
def test_a_payload_that_is_no_set_of_claims_is_refused(payload):
    refused(forge(payload))


def test_length_is_bounded_before_anything_is_decoded():
    refused(forge(claims(padding="x" * LONGEST_TOKEN)))
    refused("A" * LONGEST_TOKEN + "." + "A" * 10_000_000 + ".A")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token.replace(".", "..", 1),
        lambda token: token + ".AA.AA",
        lambda token: token + "=",
        lambda token: token.rpartition(".")[0],
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: token.replace("e", "é", 1),
        lambda token: token + "\ud800",
        lambda token: token[:20] + "!" + token[20:],
        lambda token: "",
        lambda token: "..",
    ],
)
def test_only_the_compact_form_is_read(spoil):
    refused(spoil(forge()))


@given(st.text(max_size=200))
def test_any_text_is_refused_and_breaks_nothing(text):
    refused(text)


@given(st.data())
def test_no_character_of_a_token_can_be_changed(data):
    token = forge()
    # The last character of a 64 byte signature carries bits that stand for nothing.
    place = data.draw(st.integers(0, len(token) - 2))
    letter = data.draw(st.sampled_from("ABCxyz012-_."))
    if token[place] != letter:
        refused(token[:place] + letter + token[place + 1 :])


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), timedelta(days=367)])
def test_a_life_without_sense_is_refused(ttl):
    with pytest.raises(Invalid) as caught:
        issued(ttl)
    assert caught.value.code == "token.ttl_invalid"


@pytest.mark.parametrize("subject", ["", "a\x00b", "x" * 257, "\ud800"])
def test_a_subject_that_could_not_be_shown_is_refused(subject):
    with pytest.raises(Invalid) as caught:
        issued(subject=subject)
    assert caught.value.code == "token.claims_invalid"


@pytest.mark.parametrize(
    "pem",
    [b"", b"nonsense", PUBLIC[TENANT], private_pem(ec.generate_private_key(ec.SECP384R1()))],
    ids=["empty", "nonsense", "public", "p384"],
)
def test_the_issuer_takes_only_a_private_p256_key(pem):
    with pytest.raises(Invalid) as caught:
        TokenIssuer(TENANT, pem)
    assert caught.value.code == "token.key_invalid"


def test_a_broken_key_of_ours_is_our_fault_and_not_the_callers():
    with pytest.raises(ArchiveError) as caught:
        verifier(keys={TENANT: b"broken"}).verify(forge())
    assert caught.value.code == "key.unreadable"
