"""Every verb of the S3 store over a wire that loses requests and answers: lost, and kept though the answer failed."""

import hashlib
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from archive_service.model.errors import AlreadyExists, NotFound, StoreDenied, StoreError
from archive_service.vault.stores.base import Lock, NewObject
from archive_service.vault.stores.faults import Effect
from archive_service.vault.stores.s3.client import S3Connection
from archive_service.vault.stores.s3.key_place import S3KeyPlace
from archive_service.vault.stores.s3.probe import StoreUnfit, probe_archive
from archive_service.vault.stores.s3.store import S3Store
from tests.services.fault_proxy import CUT, TORN, FaultProxy
from tests.services.s3 import AT_ONCE, S3Service, admin, connection, new_bucket, s3_service

__all__ = ["s3_service"]  # a fixture

LOST, KEPT = Effect.LOST, Effect.KEPT
UNTIL = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)

answers = pytest.mark.parametrize("answer", [CUT, 500, 503, 409, 429], ids=str)
effects = pytest.mark.parametrize("effect", [LOST, KEPT], ids=str)


@dataclass
class Wire:
    """A store and a key place behind the proxy, and the same bucket without it."""

    service: S3Service
    proxy: FaultProxy
    direct: S3Connection
    store: S3Store
    place: S3KeyPlace

    def versions(self, key: str) -> int:
        found = admin(self.service).list_object_versions(Bucket=self.direct.bucket, Prefix=key)
        return len(found.get("Versions", []))


@pytest.fixture
def wire(s3_service: S3Service) -> Iterator[Wire]:
    proxy = FaultProxy(s3_service.url)
    archive, keys = new_bucket(s3_service), new_bucket(s3_service, locked=False)
    store = S3Store(connection(s3_service, archive.bucket, url=proxy.url), retry=AT_ONCE)
    place = S3KeyPlace(connection(s3_service, keys.bucket, url=proxy.url), retry=AT_ONCE)
    yield Wire(s3_service, proxy, archive, store, place)
    proxy.heal()
    store.close()
    place.close()
    proxy.close()


def put(wire: Wire, key: str = "a/1", body: bytes = b"body") -> Any:
    return wire.store.create([NewObject(key, body, Lock(until=UNTIL))])[0]


@pytest.mark.parametrize(
    ("effect", "answer"),
    # Not a conflict that was kept: a 409 says that nothing was done.
    [(LOST, CUT), (LOST, 500), (LOST, 503), (LOST, 409), (LOST, 429), (KEPT, CUT), (KEPT, 500), (KEPT, 503)],
)
def test_s3_create_stands_once_whatever_became_of_the_first_answer(
    wire: Wire, effect: Effect, answer: int | str
) -> None:
    wire.proxy.fail("PUT", "a/", effect=effect, answer=answer)
    made = put(wire)
    assert wire.versions("a/1") == 1
    assert wire.store.read("a/1", made.version) == b"body"
    assert wire.store.stat("a/1") == [(made, Lock(until=UNTIL))]


@effects
def test_s3_create_of_a_taken_name_is_refused_after_a_lost_answer_too(wire: Wire, effect: Effect) -> None:
    """The name is another's: the answer that was lost was a refusal."""
    put(wire, body=b"the winner's")
    wire.proxy.fail("PUT", "a/", effect=effect, answer=CUT)
    with pytest.raises(AlreadyExists):
        put(wire, body=b"the loser's")
    assert wire.store.read("a/1") == b"the winner's"


@effects
def test_s3_create_whose_answers_are_all_lost_is_settled_by_one_more_look(wire: Wire, effect: Effect) -> None:
    wire.proxy.fail("PUT", "a/", effect=effect, answer=CUT, times=None)
    if effect is KEPT:
        assert wire.store.read("a/1", put(wire).version) == b"body"
        return
    with pytest.raises(StoreError) as caught:
        put(wire)
    assert caught.value.code == "store.failed"
    assert wire.versions("a/1") == 0
    wire.proxy.heal()
    put(wire)


def test_s3_create_that_nobody_can_settle_is_an_error_and_may_stand(wire: Wire) -> None:
    wire.proxy.fail("PUT", "a/", effect=KEPT, answer=CUT, times=None)
    wire.proxy.fail("GET", "a/", times=None)
    with pytest.raises(StoreError):
        put(wire)
    wire.proxy.heal()
    assert wire.store.read("a/1") == b"body"


@answers
def test_s3_of_several_objects_the_failed_one_is_made_again(wire: Wire, answer: int | str) -> None:
    wire.proxy.fail("PUT", "a/2", answer=answer, times=2)
    made = wire.store.create([NewObject(f"a/{n}", b"%d" % n) for n in range(5)])
    assert [wire.store.read(each.key, each.version) for each in made] == [b"%d" % n for n in range(5)]


def test_s3_streamed_body_is_sent_again_whole(wire: Wire) -> None:
    chunks = [bytes([n]) * 700_000 for n in range(5)]
    wire.proxy.fail("PUT", "a/", answer=CUT, times=2)
    (made,) = wire.store.create([NewObject("a/1", iter(chunks))])
    assert made.size == 3_500_000
    assert hashlib.sha256(wire.store.read("a/1")).digest() == hashlib.sha256(b"".join(chunks)).digest()


@pytest.mark.parametrize("answer", [CUT, 500, 503, TORN], ids=str)
@pytest.mark.parametrize("versioned", [True, False])
def test_s3_read(wire: Wire, answer: int | str, versioned: bool) -> None:
    version = put(wire, body=b"x" * 100_000).version if versioned else put(wire, body=b"x" * 100_000) and None
    wire.proxy.fail("GET", "a/1", effect=KEPT if answer == TORN else LOST, answer=answer, times=2)
    assert wire.store.read("a/1", version) == b"x" * 100_000


@pytest.mark.parametrize("answer", [CUT, 503, TORN], ids=str)
def test_s3_list_and_stat(wire: Wire, answer: int | str) -> None:
    for number in range(12):
        put(wire, f"a/{number:02}")
    effect = KEPT if answer == TORN else LOST
    wire.proxy.fail("GET", "a/", query="versions", nth=2, effect=effect, answer=answer)
    assert [each.key for each in wire.store.list("a/")] == [f"a/{number:02}" for number in range(12)]
    wire.proxy.fail("HEAD", "a/", effect=LOST, answer=CUT if answer == TORN else answer)
    assert wire.store.stat("a/03")[0][1] == Lock(until=UNTIL)


def test_s3_what_cannot_be_read_is_never_called_absent(wire: Wire) -> None:
    put(wire)
    wire.proxy.fail("GET", answer=503, times=None)
    for verb in (wire.store.read, wire.store.stat, lambda key: list(wire.store.list("a/"))):
        with pytest.raises(StoreError) as caught:
            verb("a/1")
        assert not isinstance(caught.value, NotFound)


@answers
@effects
@pytest.mark.parametrize("what", ["retention", "legal-hold"])
def test_s3_protect(wire: Wire, effect: Effect, answer: int | str, what: str) -> None:
    version = put(wire).version
    wire.proxy.fail("PUT", "a/1", query=what, effect=effect, answer=answer)
    longer = Lock(until=UNTIL + timedelta(days=1), hold=True)
    wire.store.protect("a/1", version, longer)
    assert wire.store.stat("a/1")[0][1] == longer


@answers
@effects
def test_s3_delete(wire: Wire, effect: Effect, answer: int | str) -> None:
    version = wire.store.create([NewObject("a/1", b"body")])[0].version
    assert wire.store.read("a/1") == b"body"
    wire.proxy.fail("DELETE", "a/1", effect=effect, answer=answer)
    wire.store.delete("a/1", version)
    with pytest.raises(NotFound):
        wire.store.read("a/1")
    assert wire.versions("a/1") == 0


@answers
@effects
@pytest.mark.parametrize("verb", ["create", "put", "delete"])
def test_s3_key_record(wire: Wire, verb: str, effect: Effect, answer: int | str) -> None:
    if verb != "create":
        wire.place.put("a/1", b"before")
    wire.proxy.fail("DELETE" if verb == "delete" else "PUT", "a/1", effect=effect, answer=answer)
    if verb == "delete":
        wire.place.delete("a/1")
        assert list(wire.place.list("a/")) == []
        return
    if (verb, effect, answer) == ("create", KEPT, 409):
        with pytest.raises(AlreadyExists):  # a conflict says that another's was there first
            wire.place.create("a/1", b"data")
    else:
        getattr(wire.place, verb)("a/1", b"data")
    assert wire.place.get("a/1") == b"data"


@effects
def test_s3_key_record_whose_answers_are_all_lost(wire: Wire, effect: Effect) -> None:
    wire.proxy.fail("PUT", "a/", effect=effect, answer=CUT, times=None)
    if effect is KEPT:
        wire.place.create("a/1", b"data")
        with pytest.raises(AlreadyExists):
            wire.place.create("a/1", b"another's")
    else:
        with pytest.raises(StoreError):
            wire.place.create("a/1", b"data")
        wire.proxy.heal()
        wire.place.create("a/1", b"data")
    assert wire.place.get("a/1") == b"data"


def test_s3_tail_of_a_log_costs_one_request_and_a_walk_one_a_batch(wire: Wire) -> None:
    """The witness that the probe leaves is asked for once."""
    probe_archive(connection(wire.service, wire.direct.bucket, url=wire.proxy.url))
    with pytest.raises(NotFound):
        wire.store.read("log/0000")
    for number in range(60):
        put(wire, f"log/{number:04}", b"%d" % number)
    before = len(wire.proxy.requests)
    with pytest.raises(NotFound):
        wire.store.read("log/0060")
    assert len(wire.proxy.requests) - before == 1
    assert [wire.store.read(f"log/{n:04}") for n in range(60)] == [b"%d" % n for n in range(60)]
    assert len(wire.proxy.requests) - before - 1 <= 62


def test_s3_a_service_without_versioning_is_refused_garage_emulated(wire: Wire) -> None:
    """An emulation: Garage answers calls of versioning and Object Lock with 501 NotImplemented; so does the proxy."""
    for query in ("versioning", "object-lock"):
        wire.proxy.fail("GET", query=query, answer=501, times=None)
    with pytest.raises(StoreUnfit, match=r"no versioning.*no Object Lock"):
        probe_archive(connection(wire.service, wire.direct.bucket, url=wire.proxy.url))


def test_s3_refused_credentials_are_told_from_absence(wire: Wire) -> None:
    wrong = S3Connection(wire.direct.bucket, wire.direct.endpoint, access_key="root", secret_key="wrong")
    store = S3Store(wrong, retry=AT_ONCE)
    try:
        for verb in (store.read, store.stat, lambda key: store.create([NewObject(key, b"")])):
            with pytest.raises(StoreDenied):
                verb("a/1")
    finally:
        store.close()


def test_s3_streamed_body_costs_flat_memory(s3_service: S3Service) -> None:
    """200 MiB through a store in less than 64 MiB, as Python counts them."""
    store = S3Store(new_bucket(s3_service))
    chunk = bytes(1 << 20)
    tracemalloc.start()
    try:
        (made,) = store.create([NewObject("a/1", (chunk for _ in range(200)))])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        store.close()
    assert made.size == 200 << 20
    assert peak < 64 << 20
