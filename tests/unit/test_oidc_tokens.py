"""Access tokens of an identity provider: what the provider makes is taken, whatever else is made is refused."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from archive_service.access import compact
from archive_service.access.events import RoleName
from archive_service.access.identified import Identified
from archive_service.access.identity import Identity
from archive_service.access.oidc_tokens import OidcTokens
from archive_service.access.tokens import TokenIssuer, TokenVerifier
from archive_service.model.errors import Denied
from tests.unit import test_tokens as builtin
from tests.unit.oidc_world import (
    AUDIENCE,
    ISSUER,
    NOW,
    SECONDS,
    TENANT,
    FakeWeb,
    World,
    claims,
    ec_key,
    encode,
    jwk_of,
    provider,
    rsa_key,
    token,
)

BASELINE = World()


def identity(world):
    return Identity(None, [world.tokens])


def taken(text, **changes):
    return identity(World(provider(**changes)) if changes else BASELINE).identify(text)


def refused(text, world=None, **changes):
    chosen = world or (World(provider(**changes)) if changes else BASELINE)
    with pytest.raises(Denied) as caught:
        identity(chosen).identify(text)
    assert (caught.value.code, str(caught.value)) == ("auth.required", "the token is not valid")


def test_a_token_of_the_provider_says_who_and_in_which_roles():
    assert taken(token()) == Identified("idp:anne", TENANT, frozenset({RoleName.LEGAL}))


@pytest.mark.parametrize(
    "algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
)
def test_every_algorithm_that_settings_may_name(algorithm):
    key = ec_key(algorithm) if algorithm.startswith("ES") else rsa_key()
    world = World(provider(algorithms=[algorithm]), FakeWeb([jwk_of(key, "k1")]))
    assert identity(world).identify(token(key=key, algorithm=algorithm)).subject == "idp:anne"
    text = token(key=key, algorithm=algorithm)
    refused(text[:-8] + ("AAAAAAAA" if not text.endswith("AAAAAAAA") else "BBBBBBBB"), world)


def test_only_the_algorithms_of_the_settings_are_taken():
    keys = [jwk_of(rsa_key(), "k1"), jwk_of(ec_key(), "k2")]
    world = World(provider(algorithms=["ES256"]), FakeWeb(keys))
    refused(token(), world)
    refused(token(algorithm="PS256"), world)
    assert identity(world).identify(token(key=ec_key(), algorithm="ES256", kid="k2"))


# --- forged signatures


def test_an_unsigned_token_is_refused():
    for name in ("none", "None", "NONE", "", None):
        text = f"{encode({'alg': name, 'kid': 'k1'})}.{encode(claims())}"
        refused(f"{text}.")
        refused(f"{text}.AA")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("form", ["pem", "der", "modulus"])
def test_the_public_key_is_no_shared_secret(algorithm, form):
    public = rsa_key().public_key()
    shared = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "modulus": jwk_of(rsa_key(), "k1")["n"].encode(),
    }[form]
    text = f"{encode({'alg': algorithm, 'kid': 'k1'})}.{encode(claims())}"
    made = hmac.new(shared, text.encode(), getattr(hashlib, f"sha{algorithm[2:]}")).digest()
    refused(f"{text}.{encode(made)}")


def test_a_symmetric_key_in_the_set_checks_nothing():
    world = World(web=FakeWeb([jwk_of(rsa_key(), "k1"), {"kty": "oct", "k": "c2VjcmV0", "kid": "k2"}]))
    for algorithm in ("HS256", "RS256"):
        text = f"{encode({'alg': algorithm, 'kid': 'k2'})}.{encode(claims())}"
        refused(f"{text}.{encode(hmac.new(b'secret', text.encode(), hashlib.sha256).digest())}", world)


def test_another_key_signs_nothing_here():
    refused(token(key=rsa_key(1)))
    refused(token(key=rsa_key(1), kid="k2"))
    refused(token(key=ec_key(), algorithm="ES256"))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": jwk_of(rsa_key(1), "k1")},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/certificate"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"], "exp": 1},
        {"b64": False, "crit": ["b64"]},
        {"b64": True},
        {"zip": "DEF"},
        {"typ": "JWE"},
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": ["at+jwt"]},
        {"kid": ["k1"]},
        {"kid": ""},
        {"kid": 1},
        {"kid": "../../etc/passwd"},
        {"kid": "k1\x00"},
        {"alg": ["RS256"]},
        {"alg": "RS256 "},
        {"alg": "rs256"},
        {"alg": "RS384"},
        {"alg": {"RS256": 1}},
    ],
    ids=lambda header: ",".join(f"{name}={str(value)[:14]}" for name, value in header.items()),
)
def test_a_header_that_leads_elsewhere_or_is_not_known_is_refused(header):
    base = {"alg": "RS256", "kid": "k1", "typ": "at+jwt"}
    assert taken(token(header=base))
    refused(token(header=base | header))
    refused(token(header=base | header, key=rsa_key(1)))


def test_nothing_that_a_token_says_is_asked_for():
    world = World()
    refused(
        token(claims(iss="https://evil.example"), {"alg": "RS256", "jku": "https://evil.example/k"}), world
    )
    refused(token(header={"alg": "RS256", "kid": "k1", "jku": "https://evil.example/k"}), world)
    assert world.web.asked == []


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", None])
def test_the_type_of_an_access_token(kind):
    header = {"alg": "RS256", "kid": "k1"} | ({} if kind is None else {"typ": kind})
    assert taken(token(header=header)).subject == "idp:anne"
    if kind is not None and "at" in kind.lower():
        assert taken(token(header=header), at_jwt=True).subject == "idp:anne"
    else:
        refused(token(header=header), at_jwt=True)


def test_without_a_key_id_the_only_fitting_key_is_taken():
    header = {"alg": "RS256"}
    assert taken(token(header=header)).subject == "idp:anne"
    two = World(web=FakeWeb([jwk_of(rsa_key(), "k1"), jwk_of(rsa_key(1), "k2")]))
    refused(token(header=header), two)
    nameless = World(web=FakeWeb([jwk_of(rsa_key(), None), jwk_of(ec_key(), "k2")]))
    assert identity(nameless).identify(token(header=header)).subject == "idp:anne"


@pytest.mark.parametrize(
    "key",
    [
        jwk_of(rsa_key(), "k1", use="enc"),
        jwk_of(rsa_key(), "k1", key_ops=["encrypt"]),
        jwk_of(rsa_key(), "k1", alg="RS512"),
        jwk_of(rsa_key(), "k1", d="AQAB"),
        jwk_of(rsa_key(), "k1") | {"kty": "EC"},
        jwk_of(rsa_key(), "k1") | {"n": 7},
        jwk_of(rsa_key(), "k1") | {"e": None},
        jwk_of(rsa_key(), "k1") | {"n": ""},
        jwk_of(rsa_key(), "k1", key_ops="verify"),
    ],
    ids=["use-enc", "ops-encrypt", "alg", "private", "kty", "n-number", "e-null", "n-empty", "ops-text"],
)
def test_a_key_that_is_not_for_it_checks_nothing(key):
    world = World(web=FakeWeb([key, jwk_of(ec_key(), "other")]))
    refused(token(), world)


def test_a_short_key_checks_nothing():
    short = rsa_key(9, 1024)
    refused(token(key=short), World(web=FakeWeb([jwk_of(short, "k1"), jwk_of(ec_key(), "other")])))


def test_a_curve_is_for_its_own_algorithm():
    key = ec_key("ES384")
    world = World(provider(algorithms=["ES256", "ES384"]), FakeWeb([jwk_of(key, "k1")]))
    assert identity(world).identify(token(key=key, algorithm="ES384")).subject == "idp:anne"
    text = f"{encode({'alg': 'ES256', 'kid': 'k1'})}.{encode(claims())}"
    refused(f"{text}.{encode(b'x' * 96)}", world)


# --- claims


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "sub"])
def test_a_claim_that_must_be_there(name):
    refused(token(claims(**{name: ...})))
    refused(token(claims(**{name: None})))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": ISSUER + "/"},
        {"iss": ISSUER.upper()},
        {"iss": [ISSUER]},
        {"iss": "archive-service"},
        {"aud": "api://other"},
        {"aud": []},
        {"aud": [AUDIENCE, 7]},
        {"aud": {AUDIENCE: 1}},
        {"aud": AUDIENCE.upper()},
        {"exp": str(SECONDS + 600)},
        {"exp": True},
        {"exp": [SECONDS + 600]},
        {"exp": -1},
        {"exp": 10**30},
        {"nbf": "0"},
        {"nbf": None},
        {"iat": {}},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a\nb"},
        {"sub": "x" * 201},
        {"sub": "\ud800"},
        {"nonce": "n"},
        {"at_hash": "x"},
        {"c_hash": "x"},
        {"typ": "ID"},
        {"typ": "Refresh"},
        {"typ": 7},
        {"cnf": {"jkt": "x"}},
    ],
    ids=repr,
)
def test_a_claim_that_no_access_token_has_is_refused(changes):
    refused(token(claims(**changes)))


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b"[" * 3000,
        b"{}",
        b'{"iss":"https://login.example/realms/acme","exp":1e400}',
        b'{"iss":"https://login.example/realms/acme","exp":NaN}',
        b'{"iss":"https://login.example/realms/acme","exp":' + b"9" * 5000 + b"}",
    ],
    ids=lambda payload: str(payload[:60]),
)
def test_a_payload_that_is_no_set_of_claims_is_refused(payload):
    refused(token(payload))


def test_a_name_given_twice_is_refused_in_header_and_claims():
    twice = encode(claims())
    raw = base64.urlsafe_b64decode(twice + "==")
    refused(token(raw[:-1] + b',"sub":"bob"}'))
    refused(token(raw[:-1] + b',"x":{"a":1,"a":2}}'))
    refused(token(header=b'{"alg":"none","alg":"RS256","kid":"k1"}'))


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["account", AUDIENCE]], ids=repr)
def test_one_fitting_audience_is_enough(audience):
    assert taken(token(claims(aud=audience))).subject == "idp:anne"


@pytest.mark.parametrize("shift", [0, 0.25], ids=["whole", "fraction"])
def test_time_is_checked_with_the_skew_of_the_settings(shift):
    for changes, good in (
        ({"exp": SECONDS - 29 + shift}, True),
        ({"exp": SECONDS - 30 - shift}, False),
        ({"nbf": SECONDS + 30 - shift}, True),
        ({"nbf": SECONDS + 31 + shift}, False),
        ({"iat": SECONDS + 31 + shift}, False),
    ):
        text = token(claims(**changes))
        if good:
            assert taken(text, skew_seconds=30).subject == "idp:anne"
        else:
            refused(text, skew_seconds=30)


def test_clients_where_the_settings_name_them():
    for name in ("azp", "client_id", "appid"):
        assert taken(token(claims(**{name: "console"})), clients=["console"]).subject == "idp:anne"
        refused(token(claims(**{name: "other"})), clients=["console"])
    refused(token(), clients=["console"])
    refused(token(claims(azp="other", client_id="console")), clients=["console"])


def test_required_claims():
    assert taken(token(claims(hd="ex.fr")), require={"hd": "ex.fr"}).subject == "idp:anne"
    for said in (..., "evil.fr", ["ex.fr"], True):
        refused(token(claims(hd=said)), require={"hd": "ex.fr"})


def test_an_id_token_is_taken_only_where_the_settings_say_so():
    text = token(claims(nonce="n", at_hash="x"), {"alg": "RS256", "kid": "k1", "typ": "JWT"})
    refused(text)
    assert taken(text, id_tokens=True).subject == "idp:anne"


# --- roles and subjects


@pytest.mark.parametrize(
    ("said", "path", "expected"),
    [
        ({"roles": "Archive.Legal"}, "roles", {"legal"}),
        ({"roles": ["Archive.Legal", "Archive.Auditor", "Other"]}, "roles", {"legal", "auditor"}),
        ({"roles": ["Archive.Both"]}, "roles", {"legal", "dpo"}),
        ({"roles": ["legal"]}, "roles", set()),
        ({"roles": ["archive.legal"]}, "roles", set()),
        ({"roles": [["Archive.Legal"], {"Archive.Legal": 1}, None]}, "roles", set()),
        ({"roles": {"Archive.Legal": True}}, "roles", set()),
        ({"roles": ...}, "roles", set()),
        ({"realm_access": {"roles": ["Archive.Legal"]}}, "realm_access.roles", {"legal"}),
        ({"realm_access": ["Archive.Legal"]}, "realm_access.roles", set()),
        (
            {"resource_access": {"archive": {"roles": ["Archive.Auditor"]}}},
            "resource_access.archive.roles",
            {"auditor"},
        ),
        ({"https://ex.fr/roles": ["Archive.Legal"]}, ["https://ex.fr/roles"], {"legal"}),
    ],
    ids=lambda value: repr(sorted(value) if isinstance(value, set) else value),
)
def test_words_become_roles_by_the_settings_alone(said, path, expected):
    found = taken(token(claims(**said)), roles_claim=path).roles
    assert {str(role) for role in found} == expected


def test_people_where_the_provider_says_no_roles():
    who = taken(token(claims(roles=...)), people={"anne": "dpo", "bob": "legal"})
    assert who.roles == {RoleName.DPO}


def test_the_subject_is_the_claim_that_the_settings_name():
    assert taken(token(claims(oid="0b1e")), subject_claim="oid").subject == "idp:0b1e"
    refused(token(), subject_claim="oid")


def test_no_two_issuers_share_a_person():
    """Two names of one person would make four eyes out of two."""
    key = builtin.private_pem(builtin.KEY)
    verifier = TokenVerifier({builtin.TENANT: builtin.PUBLIC[builtin.TENANT]}.get, lambda: NOW)
    both = Identity(verifier, [BASELINE.tokens])

    def issued(subject):
        return TokenIssuer(builtin.TENANT, key).issue(
            subject, RoleName.LEGAL, timedelta(hours=1), lambda: NOW
        )

    assert both.identify(issued("anne")).subject == "anne"
    assert both.identify(issued("else:anne")).subject == "else:anne"
    for subject in ("idp:anne", "account:robot"):
        with pytest.raises(Denied):
            both.identify(issued(subject))


def test_the_built_in_issuer_can_be_switched_off():
    issued = TokenIssuer(builtin.TENANT, builtin.private_pem(builtin.KEY)).issue(
        "anne", RoleName.LEGAL, timedelta(hours=1), lambda: NOW
    )
    refused(issued)


def test_a_tenant_that_is_not_here_lets_nobody_in():
    tokens = OidcTokens(BASELINE.said, BASELINE.source, lambda: None, lambda: NOW)
    with pytest.raises(Denied) as caught:
        Identity(None, [tokens]).identify(token())
    assert caught.value.code == "auth.required"


# --- in which role


def test_one_role_is_his_several_are_chosen_from():
    one = Identified("idp:anne", TENANT, frozenset({RoleName.LEGAL}))
    assert one.acting(None).role is one.acting("legal").role is RoleName.LEGAL
    two = Identified("idp:anne", TENANT, frozenset({RoleName.LEGAL, RoleName.DPO}))
    assert two.acting("dpo").role is RoleName.DPO


@dataclass(frozen=True)
class Choice:
    roles: frozenset[RoleName]
    wanted: str | None
    code: str


@pytest.mark.parametrize(
    "choice",
    [
        Choice(frozenset(), None, "auth.no_role"),
        Choice(frozenset(), "legal", "auth.role_not_held"),
        Choice(frozenset({RoleName.LEGAL}), "admin", "auth.role_not_held"),
        Choice(frozenset({RoleName.LEGAL}), "", "auth.role_not_held"),
        Choice(frozenset({RoleName.LEGAL}), "legal,admin", "auth.role_not_held"),
        Choice(frozenset({RoleName.LEGAL, RoleName.DPO}), None, "auth.role_ambiguous"),
    ],
    ids=lambda choice: f"{choice.code}-{choice.wanted}-{len(choice.roles)}",
)
def test_a_role_that_is_not_said_or_not_held(choice):
    with pytest.raises(Denied) as caught:
        Identified("idp:anne", TENANT, choice.roles).acting(choice.wanted)
    assert caught.value.code == choice.code
    if choice.code == "auth.role_ambiguous":
        assert str(caught.value).endswith("dpo, legal")


# --- the form


@given(st.text(max_size=200))
def test_any_text_is_refused_and_breaks_nothing(text):
    refused(text)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_header_and_payload_are_refused_and_break_nothing(header, payload):
    refused(f"{encode(header)}.{encode(payload)}.AAAA")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "roles", "typ", "azp"]), _JSON)
def test_any_value_of_a_claim_is_taken_or_refused_and_breaks_nothing(name, value):
    try:
        who = taken(token(claims(**{name: value})))
    except Denied as error:
        assert error.code == "auth.required"
    else:
        assert who.subject.startswith("idp:")
        assert who.roles <= {RoleName.LEGAL, RoleName.AUDITOR, RoleName.DPO}


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "x5t", "jku", "crit"]), _JSON))
def test_any_header_that_is_truly_signed_is_taken_or_refused_and_breaks_nothing(header):
    try:
        taken(token(header=header))
    except Denied as error:
        assert error.code == "auth.required"


@given(st.data())
def test_no_character_of_a_token_can_be_changed(data):
    text = token()
    place = data.draw(st.integers(0, len(text) - 3))
    letter = data.draw(st.sampled_from("ABCxyz012-_."))
    if text[place] != letter:
        refused(text[:place] + letter + text[place + 1 :])


@given(_JSON)
def test_strict_json_gives_an_object_or_a_value_error(value):
    try:
        read = compact.json_object(json.dumps(value).encode())
    except ValueError:
        return
    assert read == value
