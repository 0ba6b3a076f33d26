"""Both indexes give the same answers: random corpora and random query trees, compared."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search.indexes.elasticsearch import ElasticsearchIndex
from search.indexes.tantivy_index import TantivyIndex
from search.query_language import (
    And,
    Everything,
    Flag,
    Fuzzy,
    HasAttachment,
    Near,
    Not,
    Or,
    Sent,
    Size,
    Text,
    Wildcard,
    parse,
)
from search.query_tree import ADDRESS_FIELDS, WORD_FIELDS, render
from tests.contracts.query_scenarios import document
from tests.services import elasticsearch as es

WORDS = [
    "mot",
    "mots",
    "moto",
    "Été",
    "ete",
    "l'art",
    "a",
    "ab",
    "abc",
    "acb",
    "œuf",
    "東京",
    "𝒳y",
    "12",
    "m²",
    "É",
    "snake_case",
    "x\\y",
]
ADDRESSES = [
    "anne@ex.fr",
    "Anne.D@ex.fr",
    "bob@mail.ex.fr",
    "ex.fr@piege.com",
    "é@ü.fr",
    "seul",
    "a*b@c.fr",
    "@",
    "x\\y@z.fr",
]
NAMES = ["Rapport final.XLSX", "mot.pdf", "", "été mot.txt", "a\\b.doc", "abc"]
MONTHS = ["2023-12", "2024-01", "2024-02"]
_2024 = 1_704_067_200


def _corpus(seed):
    chosen = random.Random(seed)

    def text(most):
        return chosen.choice([" ", ", ", ". "]).join(chosen.choices(WORDS, k=chosen.randint(0, most)))

    def some(values, most):
        return tuple(chosen.choices(values, k=chosen.randint(0, most)))

    return [
        document(
            f"m{n}",
            chosen.randrange(-(2**63), 2**63),
            month=chosen.choice(MONTHS),
            sent=_2024 + chosen.randint(-3, 3) * 86_400 + chosen.choice([-1, 0]),
            size=chosen.randint(0, 5),
            subject=text(4),
            sender=chosen.choice(["", *ADDRESSES]),
            to=some(ADDRESSES, 3),
            cc=some(ADDRESSES, 1),
            bcc=some(ADDRESSES, 1),
            other_recipients=some(ADDRESSES, 1),
            body=text(15),
            attachments=text(5),
            filenames=some(NAMES, 3),
            not_fully_indexed=chosen.random() < 0.2,
        )
        for n in range(120)
    ]


@pytest.fixture(scope="module", params=[1, 2], ids=["elasticsearch-1", "elasticsearch-2"])
def pair(request, tmp_path_factory):
    """Both indexes over one corpus."""
    there = es.connection()
    one = TantivyIndex(tmp_path_factory.mktemp("tantivy"))
    other = ElasticsearchIndex(there, "acme")
    for index in (one, other):
        index.write(_corpus(request.param))
    yield one, other
    one.close()
    other.close()
    es.forget(there)


_FIELDS = st.sampled_from([None, *WORD_FIELDS, *ADDRESS_FIELDS])
_TEXTS = st.one_of(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join),
    st.sampled_from([*ADDRESSES, "@ex.fr", "anne@", "ex.fr", *NAMES[:2]]),
)
_PATTERNS = st.sampled_from(
    [
        "mo*",
        "*ot",
        "m?t",
        "mo?",
        "a*",
        "*b*",
        "??",
        "?bc",
        "ab?",
        "*.pdf",
        "*.xl?x",
        "*@ex.fr",
        "a\\*",
        "*fin*",
        "l'a*",
        "mot-mo*",
    ]
)
_SIDES = st.one_of(
    st.sampled_from(["mot", "ab", "l'art", "abc a", "東京", "a"]).map(Text),
    st.sampled_from(["mo*", "*ot", "ab?"]).map(Wildcard),
)
_SIDE = st.one_of(_SIDES, st.lists(_SIDES, min_size=2, max_size=3).map(lambda parts: Or(tuple(parts))))
_NEAR = st.builds(Near, _SIDE, _SIDE, st.integers(1, 6), st.booleans())
_FUZZY = st.builds(
    Fuzzy,
    st.sampled_from(["mot", "a", "ab", "abc", "motos", "art", "oeuf", "snake", "rapport"]),
    st.integers(1, 2),
    _FIELDS,
)
_DAYS = st.sampled_from([None, "2023", "2023-12", "2023-12-31", "2024-01-01", "2024"])
_SENT = st.tuples(_DAYS, _DAYS).filter(any).map(lambda days: Sent(*days))
_SIZES = st.one_of(st.none(), st.integers(-1, 6), st.just(2**70))
_SIZE = st.tuples(_SIZES, _SIZES).filter(lambda pair: pair != (None, None)).map(lambda pair: Size(*pair))
_LEAVES = st.one_of(
    st.builds(Text, _TEXTS, _FIELDS),
    st.builds(Wildcard, _PATTERNS, _FIELDS),
    _NEAR,
    _FUZZY,
    _SENT,
    st.just(HasAttachment()),
    st.builds(Flag, st.sampled_from(["draft", "dsn"])),
    st.just(Everything()),
)


def _joined(parts):
    several = st.lists(parts, min_size=2, max_size=3).map(tuple)
    return st.one_of(several.map(And), several.map(Or), parts.map(Not))


QUERIES = st.recursive(_LEAVES, _joined, max_leaves=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(query=QUERIES)
def test_the_same_answer(pair, query):
    one, other = pair
    expected = one.search(query, limit=1_000)
    assert other.search(query, limit=1_000) == expected, render(query)


@settings(max_examples=40, deadline=None)
@given(query=_SIZE)
def test_the_same_sizes(pair, query):
    one, other = pair
    small = Size(*(None if bound is None else min(bound, 2**63 - 1) for bound in (query.least, query.most)))
    expected = one.search(small, limit=1_000)
    assert other.search(small, limit=1_000) == expected


@settings(max_examples=60, deadline=None)
@given(below=st.integers(-(2**64), 2**64), limit=st.integers(0, 130))
def test_the_same_pages(pair, below, limit):
    one, other = pair
    asked = {"limit": limit, "below": below, "snippets": False}
    assert other.search(parse("mot OR a"), **asked) == one.search(parse("mot OR a"), **asked)


@settings(max_examples=120, deadline=None)
@given(
    word=st.text("abcé東", min_size=3, max_size=9).filter(lambda word: "東" not in word or len(word) < 2),
    distance=st.integers(1, 2),
)
def test_the_same_fuzzy_words(pair, word, distance):
    one, other = pair
    query = Fuzzy(word, distance)
    expected = one.search(query, limit=1_000, snippets=False)
    assert other.search(query, limit=1_000, snippets=False) == expected
