"""What the Elasticsearch index adds to the contract: months, generations, copies, faults. Against a real server."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from archive_service.model.errors import Invalid, QueryError, StoreError, StoreFull
from archive_service.vault.stores.faults import Effect
from search.indexes.elasticsearch import ElasticsearchConnection, ElasticsearchIndex, mapping
from search.indexes.elasticsearch.bulk import Operation, encoded
from search.indexes.elasticsearch.documents import source_of
from search.query_language import parse
from tests.contracts.query_scenarios import DOCUMENTS, document
from tests.services import elasticsearch as es
from tests.services.fault_proxy import CUT, FaultProxy
from tests.services.tools import free_port

pytestmark = pytest.mark.parametrize("there", ["elasticsearch"], indirect=True)


@pytest.fixture
def there(request):
    """A connection under a prefix of its own."""
    made = es.connection()
    yield made
    es.forget(made)


def opened(there, owner="acme", **more):
    return ElasticsearchIndex(there, owner, writing=es.AT_ONCE, reading=es.AT_ONCE, **more)


@pytest.fixture
def index(there):
    made = opened(there)
    yield made
    made.close()


@pytest.fixture
def admin(there):
    with es.admin(there.urls[0]) as client:
        yield client


def ids(index, query):
    return sorted(hit.id for hit in index.search(parse(query), limit=100).hits)


def months(admin, there, owner="acme"):
    """The months that readers see."""
    return sorted(name.rpartition(".")[2] for name in admin.indices.get_alias(name=f"{there.prefix}.{owner}"))


# where documents stand


def test_absent_is_a_clear_error_and_removing_from_it_is_none(index):
    index.remove(["m1"])
    for use in (lambda: index.search(parse("*"), limit=1), index.ids, index.documents):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.code == "index.unreadable"
    assert index.expunge()


def test_a_month_is_an_index_of_its_own(index, admin, there):
    index.write([document("m1", month="2024-01"), document("m2", month="2024-02")])
    assert months(admin, there) == ["2024-01", "2024-02", "base"]


def test_a_message_leaves_the_month_that_it_no_longer_belongs_to(index):
    index.write([document("m1", month="2024-02", body="mot")])
    index.write([document("m1", month="2024-01", body="mot", version=2)])
    found = index.search(parse("mot"), limit=9)
    assert (found.total, index.ids()) == (1, {"m1": 2})
    index.write([document("m1", month="2024-02", body="mot", version=1)])  # late
    assert index.search(parse("mot"), limit=9) == found
    index.write([document("m1", month="2024-02", body="mot", version=3)])
    assert (index.search(parse("*"), limit=9).total, index.ids()) == (1, {"m1": 3})


def test_owners_do_not_meet(there, index):
    other = opened(there, "acme-2")
    index.write([document("m1")])
    other.write([document("m2")])
    index.clear()
    assert (index.ids(), other.ids()) == ({}, {"m2": 1})
    other.close()


def test_a_name_that_would_reach_into_others_is_refused(there):
    for owner in ("acme.other", "acme*", "", "ACME", "../x"):
        with pytest.raises(Invalid):
            opened(there, owner)
    with pytest.raises(Invalid):
        made = opened(there)
        try:
            made.write([document("m1", month="2024-01,*")])
        finally:
            made.close()


def test_a_late_repetition_of_a_write_does_not_bring_back_what_was_removed(index, admin, there):
    """A request whose answer was lost may be done by the server long after we gave it up."""
    written = document("m1", version=5, body="secret")
    index.write([written])
    (month,) = (name for name in admin.indices.get_alias(name=f"{there.prefix}.acme") if name.endswith("-01"))
    late = Operation(month, "m1", 5, encoded(source_of(written)))
    index.remove(["m1"])
    answer = admin.bulk(operations=[late.lines()], refresh=True)
    assert answer["items"][0]["index"]["status"] == 409
    assert index.ids() == {}


def test_what_comes_back_older_is_replaced_and_removed_like_any_other(index):
    index.write([document("m1", version=5, body="cinq")])
    index.remove(["m1"])
    index.write([document("m1", version=2, body="deux")])
    index.write([document("m1", version=3, body="trois")])
    assert (index.ids(), ids(index, "deux"), ids(index, "trois")) == ({"m1": 3}, [], ["m1"])
    index.remove(["m1"])
    index.write([document("m1", version=1, body="un")])
    assert (index.ids(), ids(index, "un")) == ({"m1": 1}, ["m1"])


def test_removed_words_leave_the_disk(index, admin, there):
    index.write([document(f"m{n}", body=f"secret{n} mot") for n in range(200)])
    index.remove(["m7"])
    before = admin.indices.stats(index=f"{there.prefix}.*", metric="docs")["_all"]["total"]["docs"]
    assert before["count"] == 199
    assert before["deleted"] > 0
    assert index.expunge()
    after = admin.indices.stats(index=f"{there.prefix}.*", metric="docs")["_all"]["total"]["docs"]
    assert (after["count"], after["deleted"]) == (199, 0)
    impatient = opened(there)
    impatient.remove(["m8"])
    assert not impatient.expunge(within=0)
    impatient.close()


# pages


@pytest.mark.parametrize(("limit", "snippets"), [(1_200, False), (130, True), (100, True)])
def test_pages_of_the_server_do_not_show(index, limit, snippets):
    """Hits of one rank, too: more than a page of them."""
    index.write([document(f"m{n:04}", n // 300, body="mot") for n in range(1_300)])
    found = index.search(parse("mot"), limit=limit, snippets=snippets)
    expected = sorted((-(n // 300), f"m{n:04}") for n in range(1_300))[:limit]
    assert found.total == 1_300
    assert [(-hit.rank, hit.id) for hit in found.hits] == expected
    assert all(hit.snippets == (("<b>mot</b>",) if snippets else ()) for hit in found.hits)


# what the server would answer only in part


def test_a_wildcard_for_too_many_words_beside_others_is_refused(index):
    words = " ".join(f"zz{n}" for n in range(20_000))
    index.write([document("m1", body="mot " + words)])
    assert ids(index, "zz*") == ["m1"]
    for query, position in (("mot-zz*", 0), ("mot AND (mot NEAR/3 zz*)", 20)):
        with pytest.raises(QueryError) as caught:
            ids(index, query)
        assert (caught.value.code, caught.value.position) == ("query.too_broad", position)


def test_a_fuzzy_word_stands_for_more_than_fifty_others(index):
    letters = "abcdefghijklmnopqrstuvwxyz"
    index.write([document(f"m{n}", n, body="contra" + letter) for n, letter in enumerate(letters)])
    index.write([document(f"n{n}", n, body="contr" + letter + "t") for n, letter in enumerate(letters)])
    assert index.search(parse("contrat~1"), limit=1).total == 52


def test_the_widest_wildcards_that_the_language_takes(index):
    index.write([document("m1", body="ab" + "c" * 7)])
    assert ids(index, "*ab" + "?" * 7) == ids(index, "*a*b*c*c*") == ["m1"]


def test_nested_as_deep_as_the_server_takes_or_refused(index):
    index.write([document("m1", body="mot")])

    def nested(depth):
        query = "mot"
        for _ in range(depth):
            query = f"((rien OR {query}) AND mot)"
        return query

    assert ids(index, nested(12)) == ["m1"]
    with pytest.raises(QueryError) as caught:
        ids(index, nested(20))
    assert caught.value.code == "query.too_complex"


def test_as_many_terms_as_the_language_takes(index):
    index.write([document("m1", body=" ".join(f"w{n}" for n in range(1_000)))])
    assert ids(index, " AND ".join(f"w{n}" for n in range(1_000))) == ["m1"]
    assert ids(index, " OR ".join(f"w{n}" for n in range(1_000))) == ["m1"]


# generations


def test_what_is_made_beside_is_not_seen_until_it_takes_its_place(index, admin, there):
    index.write([document("old", body="mot")])
    made = index.beside()
    made.write([document("new", body="mot", month="2023-05")])
    assert (ids(index, "mot"), ids(made, "mot"), made.ids()) == (["old"], ["new"], {"new": 1})
    made.take_place()
    made.take_place()
    assert ids(index, "mot") == ids(made, "mot") == ["new"]
    assert months(admin, there) == ["2023-05", "base"]
    assert len(admin.indices.get(index=f"{there.prefix}.*")) == 2
    index.write([document("more", body="mot", month="2023-06")])
    made.write([document("most", body="mot")])
    assert ids(opened(there), "mot") == ["more", "most", "new"]
    made.close()


def test_what_was_swept_away_does_not_take_the_place_empty(index):
    index.write([document("m1", body="mot")])
    made = index.beside()
    made.write([document("m1", body="mot")])
    index.drop_beside()
    with pytest.raises(StoreError) as caught:
        made.take_place()
    assert caught.value.code == "index.moved"
    made.close()
    assert ids(index, "mot") == ["m1"]


def test_what_never_took_its_place_is_swept_away_by_the_next(index, admin, there):
    index.write([document("old")])
    index.beside().close()
    made = index.beside()
    made.clear()
    assert len(admin.indices.get(index=f"{there.prefix}.*")) == 3  # a month and two bases
    assert (made.ids(), index.ids()) == ({}, {"old": 1})
    made.close()


def test_readers_see_all_of_one_or_all_of_the_other(index, there):
    index.write([document(f"old{n}", n, body="mot") for n in range(40)])
    made = index.beside()
    made.write([document(f"new{n}", n, body="mot") for n in range(50)])
    reader = opened(there)
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(made.take_place)
        totals = [reader.search(parse("mot"), limit=1).total]
        while not taking.done():
            totals.append(reader.search(parse("mot"), limit=1).total)
        taking.result()
    totals.append(reader.search(parse("mot"), limit=1).total)
    assert set(totals) <= {40, 50}
    assert totals == sorted(totals)
    assert totals[-1] == 50
    for one in (made, reader):
        one.close()


def test_an_index_of_an_older_mapping_is_copied_with_nothing_lost(index, admin, there, monkeypatch):
    index.write([*DOCUMENTS, document("elsewhere", month="2020-02", body="mot")])
    index.remove(["vide"])
    index.write([document("vide", version=0)])
    before, old = (index.ids(), index.documents()), set(admin.indices.get(index=f"{there.prefix}.*"))
    assert not index.upgrade()
    monkeypatch.setattr(mapping, "VERSION", mapping.VERSION + 1)
    assert index.upgrade()
    assert not index.upgrade()
    assert (index.ids(), index.documents()) == before
    assert not old & set(admin.indices.get(index=f"{there.prefix}.*"))
    index.write([document("vide", version=1, body="encore")])
    assert ids(index, "encore") == ["vide"]


def test_an_index_whose_documents_lack_a_field_is_outdated_until_it_is_filled_again(index, monkeypatch):
    assert not index.outdated()
    with monkeypatch.context() as older:
        older.setattr(mapping, "VERSION", mapping.WHOLE - 1)
        index.write([document("m1")])
        assert index.outdated()
    index.clear()
    index.write([document("m1", flags=("draft",))])
    assert not index.outdated()
    assert ids(index, "flag:draft") == ["m1"]


def test_a_write_copies_first_and_an_older_release_does_not_write(index, monkeypatch):
    index.write([document("m1")])
    with monkeypatch.context() as newer:
        newer.setattr(mapping, "VERSION", mapping.VERSION + 1)
        index.write([document("m2")])
        assert index.ids() == {"m1": 1, "m2": 1}
    with pytest.raises(StoreError) as caught:
        index.write([document("m3")])
    assert caught.value.code == "index.unreadable"


def test_what_is_not_ours_under_our_alias_is_a_clear_error_and_clear_begins_anew(index, admin, there):
    index.write([document("m1")])
    admin.indices.create(index=f"{there.prefix}.foreign", aliases={f"{there.prefix}.acme": {}})
    with pytest.raises(StoreError) as caught:
        index.write([document("m2")])
    assert caught.value.code == "index.unreadable"
    index.clear()
    index.write([document("m2")])
    assert index.ids() == {"m2": 1}


def test_an_index_that_somebody_deletes_is_made_anew_by_the_next_write(index, admin, there):
    index.write([document("m1", body="mot")])
    admin.indices.delete(index=list(admin.indices.get(index=f"{there.prefix}.*")))
    with pytest.raises(StoreError) as caught:
        ids(index, "mot")
    assert caught.value.code == "index.unreadable"
    index.write([document("m2", body="mot")])
    assert ids(index, "mot") == ["m2"]


# bad days


def test_a_document_that_the_server_refuses_does_not_stop_the_others(index, admin, there, caplog):
    """Here because somebody gave a month another mapping."""
    index.write([document("m0", month="2024-01")])
    (base,) = (name for name in admin.indices.get(index=f"{there.prefix}.*") if name.endswith(".base"))
    poisoned = base.removesuffix("base") + "2024-02"
    properties = mapping.properties() | {"cc": {"type": "long"}}
    admin.indices.create(
        index=poisoned,
        mappings={"properties": properties},
        aliases={f"{poisoned}-write": {}, f"{there.prefix}.acme": {}},
    )
    with caplog.at_level(logging.ERROR):
        index.write(
            [
                document("m1", 1, month="2024-02", body="mot"),
                document("m2", 2, month="2024-02", cc=("anne@ex.fr",), body="mot secret", size=77),
                document("m3", 3, month="2024-01", cc=("anne@ex.fr",), body="mot"),
            ]
        )
    assert ids(index, "mot") == ["m1", "m3"]
    found = index.search(parse("size:1..100"), limit=9)
    assert ([hit.id for hit in found.hits], found.not_fully_indexed) == (["m2"], 1)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("search.")]
    assert ours == ["Elasticsearch refused document m2 (HTTP 400); its words are not indexed"]


@pytest.mark.parametrize("block", ["read_only_allow_delete", "read_only"])
def test_a_full_disk_is_a_full_store_and_afterwards_the_write_goes_well(index, admin, there, block):
    index.write([document("m1", body="mot")])
    admin.indices.put_settings(index=f"{there.prefix}.*", settings={f"index.blocks.{block}": True})
    with pytest.raises(StoreFull):
        index.write([document("m2", body="mot")])
    assert ids(index, "mot") == ["m1"]
    admin.indices.put_settings(index=f"{there.prefix}.*", settings={f"index.blocks.{block}": None})
    index.write([document("m2", body="mot")])
    assert ids(index, "mot") == ["m1", "m2"]


def test_no_server_there(there):
    nobody = opened(ElasticsearchConnection((f"http://127.0.0.1:{free_port()}",), prefix=there.prefix))
    for use in (
        lambda: nobody.write([document("m1")]),
        lambda: nobody.search(parse("*"), limit=1),
        nobody.ids,
    ):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.code == "index.unavailable"
    nobody.close()


@pytest.fixture
def proxy(there):
    made = FaultProxy(there.urls[0])
    yield made
    made.close()


@pytest.mark.parametrize("effect", [Effect.LOST, Effect.KEPT])
@pytest.mark.parametrize("answer", [CUT, 503, 429])
def test_any_request_may_be_lost_or_its_answer(index, there, proxy, effect, answer):
    """Each request of each method once, in the middle of writes, a removal, searches."""
    distant = opened(es.connection(proxy.url, there.prefix))
    for method in ("GET", "PUT", "POST", "DELETE"):
        for nth in range(1, 5):
            proxy.fail(method, nth=3 * nth, effect=effect, answer=answer)
    for n in range(4):
        month = f"2024-0{n + 1}"
        distant.write(
            [document(f"m{n}", n, month=month, body="mot"), document("x", n, version=n + 1, month=month)]
        )
        assert ids(distant, "mot") == [f"m{k}" for k in range(n + 1)]
    distant.remove(["m1"])
    assert ids(distant, "mot") == ["m0", "m2", "m3"]
    assert distant.ids() == index.ids() == {"m0": 1, "m2": 1, "m3": 1, "x": 4}
    distant.clear()
    assert index.ids() == {}
    distant.close()


def test_a_write_that_gave_up_is_made_good_by_the_next(index, there, proxy):
    distant = opened(es.connection(proxy.url, there.prefix))
    distant.write([document("m1", month="2024-01", body="un")])
    proxy.fail("POST", "_refresh", times=None, effect=Effect.LOST, answer=CUT)
    proxy.fail("POST", times=None, effect=Effect.LOST, answer=CUT)
    with pytest.raises(StoreError) as caught:
        distant.write([document("m1", month="2024-02", body="deux", version=2)])
    assert caught.value.code == "index.unavailable"
    proxy.heal()
    distant.write([document("m1", month="2024-03", body="trois", version=3)])
    assert (index.search(parse("*"), limit=9).total, ids(index, "trois")) == (1, ["m1"])
    distant.close()
