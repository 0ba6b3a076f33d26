"""A provider's document and keys: kept, renewed ahead, asked for again with pauses, and believed a day without it."""

import threading

import pytest

from archive_service.access.identity import Identity
from archive_service.access.oidc_source import KEPT_AWAY, LONGEST, SHORTEST, UNKNOWN_KID, Answer
from archive_service.model.errors import Denied, Overloaded
from tests.unit.oidc_world import ISSUER, FakeWeb, World, jwk_of, provider, rsa_key, token


def ids(world, text):
    return Identity(None, [world.tokens]).identify(text)


def away(world):
    with pytest.raises(Overloaded) as caught:
        ids(world, token())
    assert caught.value.code == "identity.provider_away"


def test_one_question_serves_many_tokens():
    world = World()
    for _ in range(5):
        ids(world, token())
    assert world.web.asked == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]


def test_keys_are_renewed_aside_before_their_time_is_over():
    world = World(web=FakeWeb(max_age=1000))
    ids(world, token())
    world.clock.now += 749
    ids(world, token())
    assert world.later == []
    world.clock.now += 2
    for _ in range(3):
        ids(world, token())
    assert (world.web.rounds, len(world.later)) == (1, 1)
    world.later.pop()()
    ids(world, token())
    assert (world.web.rounds, world.later) == (2, [])


def test_keys_whose_time_is_over_are_asked_for_first():
    world = World(web=FakeWeb(max_age=1000))
    ids(world, token())
    world.web.keys = [jwk_of(rsa_key(1), "k1")]
    world.clock.now += 1000
    with pytest.raises(Denied):
        ids(world, token())
    assert ids(world, token(key=rsa_key(1))).subject == "idp:anne"


@pytest.mark.parametrize(
    ("said", "life"), [(0.0, SHORTEST), (10**9, LONGEST), (None, 120.0)], ids=["none", "years", "unsaid"]
)
def test_how_long_is_bounded(said, life):
    world = World(provider(renew_seconds=120), FakeWeb(max_age=said))
    assert world.source.known().life == life


def test_a_rotated_key_is_found_by_one_question_and_a_flood_of_ids_costs_no_more():
    world = World()
    ids(world, token())
    world.web.keys = [jwk_of(rsa_key(), "k1"), jwk_of(rsa_key(1), "k2")]
    assert ids(world, token(key=rsa_key(1), kid="k2")).subject == "idp:anne"
    assert world.web.rounds == 2
    for number in range(50):
        with pytest.raises(Denied):
            ids(world, token(key=rsa_key(2), kid=f"unknown-{number}"))
    assert world.web.rounds == 2
    world.clock.now += UNKNOWN_KID
    for _ in range(5):
        with pytest.raises(Denied):
            ids(world, token(key=rsa_key(2), kid="unknown"))
    assert world.web.rounds == 3


def test_a_key_that_was_taken_out_signs_nothing_after_the_next_question():
    world = World()
    ids(world, token())
    world.web.keys = [jwk_of(rsa_key(1), "k2")]
    assert ids(world, token(key=rsa_key(1), kid="k2"))
    with pytest.raises(Denied):
        ids(world, token())


def test_a_provider_that_is_away_at_the_start_is_asked_again_with_growing_pauses():
    world = World(web=FakeWeb(away=True))
    rounds = []
    for _ in range(600):
        away(world)
        rounds.append(world.web.rounds)
        world.clock.now += 1
    assert 4 <= rounds[-1] <= 20  # 2, 4, 8 ... 300 seconds, each between half and whole
    assert rounds[-1] - rounds[300] <= 3
    world.web.away = False
    world.clock.now += 300
    assert ids(world, token()).subject == "idp:anne"


def test_known_keys_are_believed_while_the_provider_is_away_and_no_longer_than_a_day():
    world = World(web=FakeWeb(max_age=1000))
    ids(world, token())
    world.web.away = True
    world.clock.now += KEPT_AWAY - 1
    assert ids(world, token()).subject == "idp:anne"
    world.clock.now += 1
    away(world)
    world.web.away = False
    world.clock.now += 300
    assert ids(world, token()).subject == "idp:anne"


def test_a_renewal_that_fails_costs_nothing_but_a_pause():
    world = World(web=FakeWeb(max_age=1000))
    ids(world, token())
    world.web.away = True
    world.clock.now += 800
    ids(world, token())
    world.later.pop()()
    ids(world, token())
    assert world.later == []  # the pause is not over
    world.clock.now += 100
    world.web.away = False
    ids(world, token())
    world.later.pop()()
    assert world.source.known().at == world.clock.now


def test_those_who_come_together_ask_once():
    world = World()
    began, go = threading.Event(), threading.Event()
    get = world.web.get

    def slow(url):
        began.set()
        assert go.wait(60)
        return get(url)

    world.web.get = slow
    found = []
    threads = [threading.Thread(target=lambda: found.append(ids(world, token()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert began.wait(60)
    go.set()
    for thread in threads:
        thread.join(60)
    assert (len(found), world.web.rounds) == (8, 1)


KEYS = f"{ISSUER}/keys"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        (DISCOVERY, Answer(500, b"")),
        (DISCOVERY, Answer(302, b"")),
        (DISCOVERY, Answer(200, b"<html>")),
        (DISCOVERY, Answer(200, b"[]")),
        (DISCOVERY, Answer(200, b'{"issuer":"https://evil.example","jwks_uri":"https://evil.example/k"}')),
        (DISCOVERY, Answer(200, f'{{"issuer":"{ISSUER}/","jwks_uri":"{KEYS}"}}'.encode())),
        (DISCOVERY, Answer(200, f'{{"issuer":"{ISSUER}"}}'.encode())),
        (DISCOVERY, Answer(200, f'{{"issuer":"{ISSUER}","jwks_uri":"http://login.example/k"}}'.encode())),
        (DISCOVERY, Answer(200, f'{{"issuer":"{ISSUER}","jwks_uri":"http://127.0.0.1/k"}}'.encode())),
        (DISCOVERY, Answer(200, f'{{"issuer":"{ISSUER}","jwks_uri":"file:///etc/passwd"}}'.encode())),
        (DISCOVERY, Answer(200, f'{{"issuer":"{ISSUER}","jwks_uri":["{KEYS}"]}}'.encode())),
        (
            DISCOVERY,
            Answer(
                200,
                f'{{"issuer":"{ISSUER}","jwks_uri":"{KEYS}","token_endpoint":"http://evil.example"}}'.encode(),
            ),
        ),
        (KEYS, Answer(404, b"")),
        (KEYS, Answer(200, b"{}")),
        (KEYS, Answer(200, b'{"keys":{}}')),
        (KEYS, Answer(200, b'{"keys":[]}')),
        (KEYS, Answer(200, b'{"keys":[1,null,"x",{"kty":"RSA"},{"kid":["k1"]}]}')),
        (KEYS, Answer(200, b'{"keys":[],"keys":[]}')),
    ],
    ids=lambda value: (
        value.rpartition("/")[2] if isinstance(value, str) else f"{value.status}-{value.body[:90]!r}"
    ),
)
def test_a_provider_that_answers_nonsense_is_as_good_as_away(url, answer):
    world = World()
    world.web.raw[url] = answer
    away(world)
    known = World()
    ids(known, token())
    known.web.raw[url] = answer
    known.clock.now += 1001
    assert ids(known, token()).subject == "idp:anne"  # what was known is kept
