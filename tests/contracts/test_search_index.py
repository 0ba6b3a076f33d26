"""The contract of SearchIndex, over every back end; queries and answers stand in ``query_scenarios``."""

import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive_service.model.errors import QueryError, StoreError
from search.indexes import analysis
from search.indexes.elasticsearch import ElasticsearchIndex
from search.indexes.snippets import within_distance
from search.indexes.tantivy_index import TantivyIndex
from search.query_language import And, Everything, Fuzzy, Ids, Near, Not, Text, Wildcard, parse
from tests.contracts.query_scenarios import DOCUMENTS, REFUSED, SCENARIOS, document
from tests.services import elasticsearch as es

INDEXES = ("tantivy", "elasticsearch")


@contextmanager
def opener(kind, folder):
    """Opens the same index, empty at first, at each call."""
    with ExitStack() as opened:
        if kind == "tantivy":
            make = partial(TantivyIndex, folder / "projections" / "index")
        else:
            there = es.connection()
            opened.callback(es.forget, there)
            make = partial(ElasticsearchIndex, there, "acme")

        def open_one():
            index = make()
            opened.callback(index.close)
            return index

        yield open_one


@pytest.fixture(params=INDEXES)
def open_index(request, tmp_path):
    """Opens the same index at each call."""
    with opener(request.param, tmp_path) as open_one:
        yield open_one


@pytest.fixture
def index(open_index):
    """An empty index."""
    index = open_index()
    index.clear()
    return index


@pytest.fixture(scope="module", params=INDEXES)
def filled(request, tmp_path_factory):
    """The documents of the scenarios; never changed."""
    with opener(request.param, tmp_path_factory.mktemp("scenarios")) as open_one:
        index = open_one()
        index.clear()
        index.write(DOCUMENTS)
        yield index


def test_a_bound_of_ids_holds_whatever_the_query_is(filled):
    some = tuple(sorted(document.id for document in DOCUMENTS)[:2])
    everything = filled.search(Everything(), limit=100)
    bounded = filled.search(And((Ids(some), Everything())), limit=100)
    assert {hit.id for hit in bounded.hits} == set(some)
    assert bounded.total == len(some)
    rest = filled.search(And((Not(Ids(some)), Everything())), limit=100)
    assert rest.total == everything.total - len(some)
    assert filled.search(Ids(("nobody",)), limit=100).total == 0


def ids(index, query, **more):
    return [hit.id for hit in index.search(parse(query), **({"limit": 100} | more)).hits]


@pytest.mark.parametrize(("query", "expected"), SCENARIOS, ids=[query for query, _ in SCENARIOS])
def test_query_finds(filled, query, expected):
    found = filled.search(parse(query), limit=100)
    assert {hit.id for hit in found.hits} == expected
    assert found.total == len(expected) == len(found.hits)
    assert found.not_fully_indexed == len(expected & {"courbet"})


@pytest.mark.parametrize(("query", "code", "position"), REFUSED, ids=[query for query, _, _ in REFUSED])
def test_query_is_refused(filled, query, code, position):
    with pytest.raises(QueryError) as caught:
        filled.search(parse(query), limit=1)
    assert (caught.value.code, caught.value.position) == (code, position)


# pages


def test_pages_have_no_doubles_and_no_gaps(index):
    """All sent in the same second; ranks differ in their last bits, some are negative."""
    ranks = [n - 30 for n in range(45)] + [2**62 + n for n in range(15)] + [-(2**62), 2**63 - 1]
    random.Random(1).shuffle(ranks)
    index.write([document(f"m{rank}", rank, body="mot") for rank in ranks])
    query, seen, below = parse("mot"), [], None
    while True:
        page = index.search(query, limit=7, below=below)
        assert page.total == len(ranks)
        if not page.hits:
            break
        seen += [hit.rank for hit in page.hits]
        below = page.hits[-1].rank
    assert seen == sorted(ranks, reverse=True)


def test_a_limit_of_nothing_still_counts(filled):
    found = filled.search(parse("contrat"), limit=0)
    assert (found.total, found.hits) == (3, ())


def test_below_everything_is_an_empty_page_with_its_total(filled):
    found = filled.search(parse("contrat"), limit=9, below=1)
    assert (found.total, found.not_fully_indexed, found.hits) == (3, 1, ())
    assert filled.search(parse("contrat"), limit=9, below=-(2**70)).hits == ()
    assert len(filled.search(parse("contrat"), limit=10**12, below=2**70).hits) == 3


# writes


def test_a_newer_version_replaces_and_an_older_one_does_not(index):
    index.write([document("m1", 1, version=5, body="cinq")])
    index.write([document("m1", 2, version=4, body="quatre"), document("m2", 9, body="autre")])
    assert (ids(index, "quatre"), ids(index, "cinq"), ids(index, "autre")) == ([], ["m1"], ["m2"])
    index.write([document("m1", 3, version=6, body="six")])
    assert (ids(index, "cinq"), ids(index, "six")) == ([], ["m1"])
    assert index.ids() == {"m1": 6, "m2": 1}


def test_the_same_version_is_written_again(index):
    index.write([document("m1", 1, version=5, body="vide", not_fully_indexed=True)])
    index.write([document("m1", 1, version=5, body="plein")])
    found = index.search(parse("*"), limit=9)
    assert (found.total, found.not_fully_indexed, ids(index, "plein")) == (1, 0, ["m1"])


def test_of_one_batch_the_highest_version_stays(index):
    versions = [3, 9, 5]
    index.write([document("m1", version, version=version, body=f"v{version}") for version in versions])
    assert (index.ids(), ids(index, "v9")) == ({"m1": 9}, ["m1"])


def test_many_documents_in_many_writes(index):
    for start in range(0, 900, 90):
        index.write(
            [document(f"m{n}", n, version=n + 1, body=f"mot n{n % 10}") for n in range(start, start + 90)]
        )
    index.write([document(f"m{n}", n, version=2000, body="remplacé") for n in range(0, 900, 2)])
    assert index.search(parse("n4 OR n5"), limit=1).total == 90
    assert index.search(parse("remplacé"), limit=1).total == 450
    assert index.ids() == {f"m{n}": 2000 if n % 2 == 0 else n + 1 for n in range(900)}


def test_clear_forgets_everything_and_older_versions_count_again(index):
    index.write([document("m1", 1, version=5, body="mot")])
    index.clear()
    assert (ids(index, "*"), index.ids()) == ([], {})
    index.write([document("m1", 1, version=1, body="mot")])
    assert ids(index, "mot") == ["m1"]


def test_an_empty_write_is_one(open_index):
    index = open_index()
    index.write([])
    assert index.search(parse("*"), limit=9).total == 0


def test_readers_beside_the_writer_see_every_write(open_index):
    writer, reader = open_index(), open_index()
    writer.clear()
    for n in range(8):
        writer.write([document(f"m{n}", n, body="mot")])
        assert len(ids(reader, "mot")) == n + 1
    writer.clear()
    assert ids(reader, "*") == []


def test_readers_see_whole_writes(open_index):
    writer, reader = open_index(), open_index()
    writer.clear()
    written = threading.Event()

    def read():
        totals = []
        while not written.is_set():
            totals.append(reader.search(parse("mot"), limit=1).total)
        return totals

    with ThreadPoolExecutor(2) as pool:
        readings = [pool.submit(read) for _ in range(2)]
        try:
            for n in range(10):
                writer.write([document(f"m{n}-{k}", 10 * n + k, body="mot") for k in range(10)])
        finally:
            written.set()
        for totals in [reading.result() for reading in readings]:
            assert all(total % 10 == 0 for total in totals)
            assert totals == sorted(totals)


@pytest.mark.parametrize(
    "text",
    [
        "\x00\u2028\ud800 mot",
        "x" * 9_000 + " mot",
        "mot " * 50_000,
        "\U0001f600" * 999 + " mot",
        "mot\u0301" * 3,
    ],
    ids=["odd characters", "one long word", "many words", "emoji", "marks"],
)
def test_any_text_is_taken_and_searched(index, text):
    name = "n\x00\ud800" + "y" * 300
    index.write([document("m1", 1, subject=text, body=text, attachments=text, filenames=(name, text[:500]))])
    assert ids(index, "mot*") == ["m1"]
    assert ids(index, "x" * 9_000) == (["m1"] if "x" in text else [])


def test_odd_addresses_are_taken(index):
    odd = (
        "",
        "@",
        "a@",
        "@b.fr",
        "sans arobase",
        '"a b"@c.fr',
        "é@ü.fr",
        "\ud800@x.fr",
        "x" * 70_000 + "@x.fr",
    )
    index.write([document("m1", 1, sender="seul", to=odd)])
    assert ids(index, 'to:"\\"a b\\"@c.fr"') == ["m1"]
    assert ids(index, "from:seul to:é@ü.fr to:arobase") == ["m1"]


# snippets


def snippets(index, query):
    (hit,) = index.search(parse(query), limit=1).hits
    return hit.snippets


def test_snippets_mark_matches_in_the_original_and_escape_the_rest(filled):
    assert snippets(filled, "alert") == (
        "con\u00adtrat\u00e9 caf\u0065\u0301 Excel™ H₂O m² snake_case &amp;lt;b&amp;gt; "
        "&lt;script&gt;<b>alert</b>(1)&lt;/script&gt; aujourd’hui",
    )
    assert "<b>con\u00adtrat\u00e9</b>" in snippets(filled, "contraté")[0]
    assert "<b>l'accord-cadre</b>. <b>Œuvre</b>" in snippets(filled, "(oeuvre l’accord-cadre) -facture")[0]
    assert "<b>東京</b>都" in snippets(filled, "東京")[0]
    assert "<b>Excel</b>™" in snippets(filled, "exc*")[0]
    assert snippets(filled, "subject:bravo") == ("<b>bravo</b> 🎉 merci 👍🏽",)
    assert snippets(filled, "filename:rapport") == ("<b>Rapport</b> final_2024.XLSX bon.pdf",)


@pytest.mark.parametrize(
    "query", ["*", "has:attachment sent:2024", "from:anne.durand@ex.fr", "NOT bravo has:attachment"]
)
def test_what_is_no_word_marks_nothing(filled, query):
    assert all(hit.snippets == () for hit in filled.search(parse(query), limit=9).hits)


def test_snippets_may_be_left_out(filled):
    assert all(hit.snippets == () for hit in filled.search(parse("contrat"), limit=9, snippets=False).hits)


def test_snippets_are_few_and_short(index):
    body = "Début. " + ("remplissage " * 40 + "aiguille & foin ") * 6
    index.write([document("m1", 1, body=body, subject="aiguille")])
    found = snippets(index, "aiguille")
    assert len(found) == 3
    for snippet in found:
        assert "<b>aiguille</b> &amp; foin" in snippet
        assert len(snippet) <= 160 + len("<b></b>amp;")
        assert snippet.startswith("remplissage")


# nearness and fuzziness against their definitions

VOCABULARY = ["aa", "ab", "ba", "bb", "cab", "abc"]
_WORDS = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=9)


def _starts(words, body):
    return [at for at in range(len(body)) if body[at : at + len(words)] == words]


def _within(left, right, distance, body):
    return any(
        1 <= there - (here + len(left) - 1) <= distance
        for here in _starts(left, body)
        for there in _starts(right, body)
    )


@pytest.fixture(scope="module", params=INDEXES)
def bodies(request, tmp_path_factory):
    """An index of 400 random bodies, and the bodies."""
    chosen = random.Random(7)
    texts = {f"m{n}": [chosen.choice(VOCABULARY) for _ in range(chosen.randint(1, 9))] for n in range(400)}
    with opener(request.param, tmp_path_factory.mktemp("bodies")) as open_one:
        index = open_one()
        index.write(
            [document(name, n, body=" ".join(words)) for n, (name, words) in enumerate(texts.items())]
        )
        yield index, texts


def _found(index, node):
    return {hit.id for hit in index.search(node, limit=1000, snippets=False).hits}


@settings(max_examples=60, deadline=None)
@given(
    left=_WORDS.map(lambda w: w[:2]),
    right=_WORDS.map(lambda w: w[:2]),
    distance=st.integers(1, 8),
    ordered=st.booleans(),
)
def test_near_and_pre_are_exact(bodies, left, right, distance, ordered):
    index, texts = bodies
    expected = {
        name
        for name, body in texts.items()
        if _within(left, right, distance, body) or (not ordered and _within(right, left, distance, body))
    }
    node = Near(Text(" ".join(left)), Text(" ".join(right)), distance, ordered)
    assert _found(index, node) == expected


@settings(max_examples=30, deadline=None)
@given(distance=st.integers(1, 8), ordered=st.booleans())
def test_near_with_wildcards_is_exact(bodies, distance, ordered):
    index, texts = bodies
    expected = set()
    for name, body in texts.items():
        starts = [at for at, word in enumerate(body) if word.startswith("ab")]
        ends = [at for at, word in enumerate(body) if word.endswith("ab")]
        gaps = [end - start for start in starts for end in ends]
        if any(1 <= gap <= distance or (not ordered and -distance <= gap <= -1) for gap in gaps):
            expected.add(name)
    assert _found(index, Near(Wildcard("ab*"), Wildcard("*ab"), distance, ordered)) == expected


@settings(max_examples=60, deadline=None)
@given(st.text("abc", min_size=1, max_size=4), st.integers(1, 2))
def test_fuzzy_counts_edits(bodies, word, distance):
    index, texts = bodies
    expected = {
        name for name, body in texts.items() if any(within_distance(word, other, distance) for other in body)
    }
    assert _found(index, Fuzzy(word, distance)) == expected


@settings(max_examples=60, deadline=None)
@given(_WORDS.map(lambda w: w[:4]))
def test_phrases_are_exact(bodies, words):
    index, texts = bodies
    assert _found(index, Text(" ".join(words))) == {
        name for name, body in texts.items() if _starts(words, body)
    }


# analysis


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30))
def test_folding_is_idempotent_and_words_are_searchable(text):
    folded = analysis.fold(text)
    assert analysis.fold(folded) == folded
    for word in analysis.words(text):
        assert analysis.words(word) == [word]
        assert not any(char.isspace() for char in word)


# of the tantivy back end alone


def test_tantivy_absent_index_is_a_clear_error_until_it_is_there(tmp_path):
    reader = TantivyIndex(tmp_path / "index")
    for use in (lambda: reader.search(parse("*"), limit=1), reader.ids):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.code == "index.unreadable"
    assert not (tmp_path / "index").exists()
    writer = TantivyIndex(tmp_path / "index")
    writer.write([document("m1")])
    writer.close()
    assert reader.ids() == {"m1": 1}


def _break_meta(folder):
    (folder / "meta.json").write_text("{")


def _pipe_for_meta(folder):
    (folder / "meta.json").unlink()
    os.mkfifo(folder / "meta.json")


def _pipe_for_segments(folder):
    for file in folder.glob("*.store"):
        file.unlink()
        os.mkfifo(file)


def _break_list(folder):
    (folder / ".managed.json").write_text("{")


def _lose_segments(folder):
    for file in folder.glob("*.term"):
        file.unlink()


def _cut_segments(folder):
    for file in folder.iterdir():
        if file.suffix in (".term", ".store", ".fast", ".idx"):
            file.write_bytes(file.read_bytes()[:10])


def _other_schema(folder):
    meta = folder / "meta.json"
    meta.write_text(meta.read_text().replace('"has_attachment"', '"other"'))


@pytest.mark.parametrize(
    "damage",
    [
        _break_meta,
        _break_list,
        _lose_segments,
        _cut_segments,
        _other_schema,
        _pipe_for_meta,
        _pipe_for_segments,
    ],
)
def test_tantivy_damage_is_a_clear_error_and_clear_begins_anew(tmp_path, damage):
    folder = tmp_path / "index"
    index = TantivyIndex(folder)
    index.write([document("m1", body="mot")])
    index.close()
    damage(folder)
    again = TantivyIndex(folder)
    with pytest.raises(StoreError) as caught:
        again.search(parse("mot"), limit=1)
    assert caught.value.code == "index.unreadable"
    again.clear()
    again.write([document("m2", body="mot")])
    assert again.ids() == {"m2": 1}
    again.close()


def test_tantivy_has_one_writer_at_a_time(tmp_path):
    first, second = TantivyIndex(tmp_path), TantivyIndex(tmp_path)
    first.write([document("m1")])
    with pytest.raises(StoreError) as caught:
        second.write([document("m2")])
    assert caught.value.code == "index.locked"
    first.close()
    second.write([document("m2")])
    assert first.ids() == {"m1": 1, "m2": 1}
    second.close()


def test_tantivy_a_failed_write_leaves_nothing_behind(tmp_path):
    index = TantivyIndex(tmp_path)
    index.write([document("m1")])
    with pytest.raises(OverflowError):
        index.write([document("m2"), document("m3", rank=2**63)])
    index.write([document("m4")])
    assert index.ids() == {"m1": 1, "m4": 1}
    index.close()


def test_tantivy_another_process_reads_what_a_killed_writer_committed(tmp_path):
    program = (
        "import os, pathlib, sys\n"
        "from search.indexes.tantivy_index import TantivyIndex\n"
        "from tests.contracts.query_scenarios import document\n"
        "index = TantivyIndex(pathlib.Path(sys.argv[1]))\n"
        "index.write([document('m1', body='mot')])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert ended.returncode == -9
    index = TantivyIndex(tmp_path)
    assert ids(index, "mot") == ["m1"]
    index.write([replace(DOCUMENTS[0], id="m2")])
    assert index.ids() == {"m1": 1, "m2": 1}
    index.close()


def test_tantivy_a_wildcard_for_too_many_words_beside_others_is_refused(tmp_path):
    index = TantivyIndex(tmp_path)
    words = " ".join(f"zz{n}" for n in range(20_000))
    index.write([document("m1", body="mot " + words)])
    assert ids(index, "zz*") == ["m1"]
    with pytest.raises(QueryError) as caught:
        ids(index, "mot-zz*")
    assert (caught.value.code, caught.value.position) == ("query.too_broad", 0)
    index.close()


def test_gdpr_article_17_what_is_removed_is_not_found_and_may_come_back_in_an_older_version(open_index):
    index = open_index()
    index.clear()
    index.write(DOCUMENTS)
    first = DOCUMENTS[0]
    index.remove([first.id, "never-there"])
    again = open_index()
    assert first.id not in again.ids() and first.id not in ids(again, "*")
    index.write([replace(first, version=first.version - 1)])
    assert again.ids()[first.id] == first.version - 1
