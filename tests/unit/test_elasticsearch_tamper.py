"""Who may write to Elasticsearch, and to nothing else: what he does is named by what compares, and stops no line."""

import logging

import pytest

from archive_service.engines.rebuilding import compare_documents
from archive_service.ledger.verify.report import Report
from archive_service.model.errors import StoreError
from search.indexes.elasticsearch import ElasticsearchIndex
from search.query_language import parse
from tests.contracts.query_scenarios import document
from tests.services import elasticsearch as es

pytestmark = pytest.mark.parametrize("there", ["elasticsearch"], indirect=True)

DOCUMENTS = [
    document("m1", 1, body="mot un", month="2024-01"),
    document("m2", 2, body="mot deux", month="2024-02"),
]


@pytest.fixture
def there():
    """A connection under a prefix of its own."""
    made = es.connection()
    yield made
    es.forget(made)


class Attacked:
    """An index of two months, what a drill makes beside it, and a client of somebody who may do anything there."""

    def __init__(self, there, admin):
        self.there, self.admin = there, admin
        self.index = ElasticsearchIndex(there, "acme", writing=es.AT_ONCE, reading=es.AT_ONCE)
        self.index.clear()
        self.index.write(DOCUMENTS)
        self.again = self.index.beside()
        self.again.write(DOCUMENTS)
        self.alias = f"{there.prefix}.acme"
        (self.month,) = (
            name for name in admin.indices.get_alias(name=self.alias) if name.endswith("2024-01")
        )

    def source(self, **changed):
        return {**self.admin.get(index=self.month, id="m1")["_source"], **changed}

    def put(self, key, source, index=None, version=1):
        more = {"version": version, "version_type": "external_gte", "refresh": True}
        self.admin.index(index=index or self.month, id=key, document=source, **more)

    def found(self, query="mot"):
        return sorted(hit.id for hit in self.index.search(parse(query), limit=10).hits)

    def drilled(self):
        report = Report()
        compare_documents(self.index, self.again, report)
        return {problem.name for problem in report.problems}


@pytest.fixture
def attacked(there):
    with es.admin(there.urls[0]) as admin:
        made = Attacked(there, admin)
        yield made
        made.again.close()
        made.index.close()


def test_nothing_to_name_where_nothing_was_done(attacked):
    assert attacked.drilled() == set()
    attacked.index.write([document("m3", 3, month="2024-03")])
    attacked.again.write([document("m3", 3, month="2024-03")])
    assert attacked.drilled() == set()


@pytest.mark.parametrize("key", ["a", "zzz", "m1#1", "m1#x"])
def test_tamper_a_second_document_of_a_message_is_named_wherever_it_stands(attacked, key):
    attacked.put(key, attacked.source(body="geheim"))
    assert attacked.found("geheim") == ["m1"]
    assert attacked.index.ids() == {"m1": 1, "m2": 1}
    assert attacked.drilled() == {"m1"}


def test_tamper_a_document_that_says_another_version_of_itself_is_named(attacked):
    attacked.put("m1", attacked.source(version=9, body="geheim"))
    assert attacked.index.ids() == {"m1": 1, "m2": 1}
    assert attacked.drilled() == {"m1"}


@pytest.mark.parametrize("shadowed", ["body", "id", "rank"])
def test_tamper_a_field_made_at_search_time_is_named(attacked, shadowed):
    """It stands before the real one, in a mapping that leaves every document as it is."""
    attacked.admin.indices.put_mapping(index=attacked.month, runtime={shadowed: {"type": "keyword"}})
    assert attacked.drilled() == {"field index"}


def test_tamper_a_month_whose_words_are_not_looked_up_is_named(attacked):
    admin, month = attacked.admin, attacked.month
    made = admin.indices.get(index=month)[month]
    source = attacked.source()
    made["mappings"]["properties"]["attachment"] = {"type": "text", "analyzer": "keyword"}
    admin.indices.delete(index=month)
    admin.indices.create(index=month, mappings=made["mappings"], aliases=made["aliases"])
    attacked.put("m1", source)
    assert attacked.index.ids() == {"m1": 1, "m2": 1}
    assert attacked.drilled() == {"field attachment"}


STRANGERS = {
    "without id": {"body": "mot"},
    "with two ids": {"id": ["m1", "m2"], "version": 1, "rank": 9, "body": "mot"},
    "without version": {"id": "m1", "body": "mot", "rank": 9},
    "with an original that is none": {
        "id": "m1",
        "version": 1,
        "rank": 9,
        "body": "mot",
        "original": {"body": ["x"]},
    },
    "with an original that is a text": {
        "id": "m1",
        "version": 1,
        "rank": 9,
        "body": "mot",
        "original": "mot",
    },
}


@pytest.mark.parametrize("source", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("key", ["stranger", "m1#x", "m1", "#", "m1#0"])
def test_tamper_a_document_that_is_not_ours_stops_neither_reader_nor_writer_and_is_named(
    attacked, key, source
):
    attacked.put(key, source, version=1)
    assert "m2" in attacked.found()
    found = attacked.index.ids()
    assert found != {"m1": 1, "m2": 1} or attacked.drilled()
    attacked.index.write([document("m1", 2, body="neu", month="2024-01"), document("m3", 3, month="2024-03")])
    assert attacked.found("neu") == ["m1"]
    attacked.index.remove(["m1", "m3"])
    assert attacked.found("neu") == []


def test_a_month_that_somebody_closed_is_no_fault_of_its_documents(attacked, caplog):
    attacked.admin.indices.close(index=attacked.month)
    with caplog.at_level(logging.ERROR), pytest.raises(StoreError) as caught:
        attacked.index.write([document("m4", 4, body="mot", month="2024-01")])
    assert caught.value.code == "index.refused"
    assert not [record for record in caplog.records if record.name.startswith("search.")]
    attacked.admin.indices.open(index=attacked.month)
    attacked.index.write([document("m4", 4, body="mot", month="2024-01")])
    assert attacked.found() == ["m1", "m2", "m4"]
    assert attacked.index.search(parse("*"), limit=1).not_fully_indexed == 0
