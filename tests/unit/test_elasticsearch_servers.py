"""The Elasticsearch index against servers of its own: killed ones, small ones, ones with TLS and users."""

import base64
import datetime
import ipaddress
import socket
import ssl
import threading
from contextlib import contextmanager, suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from archive_service.model.errors import StoreDenied, StoreError, StoreFull
from search.indexes.elasticsearch import ElasticsearchConnection, ElasticsearchIndex
from search.query_language import parse
from tests.contracts.query_scenarios import document
from tests.services import elasticsearch as es

pytestmark = pytest.mark.parametrize("engine", ["elasticsearch"])


def opened(url, **more):
    there = ElasticsearchConnection((url,), replicas=0, **more)
    return ElasticsearchIndex(there, "acme", writing=es.AT_ONCE, reading=es.AT_ONCE)


def ids(index, query="mot"):
    return sorted(hit.id for hit in index.search(parse(query), limit=1_000, snippets=False).hits)


@pytest.fixture(scope="module")
def small():
    """A server that takes little at once."""
    limits = {"http.max_content_length": "1mb", "indexing_pressure.memory.limit": "400kb"}
    with es.running(limits) as server:
        yield server


def test_more_than_the_server_takes_at_once_goes_in_smaller_pieces(engine, small, caplog):
    """Too large for a request (413) and for its memory (429): pieces shrink; one document alone too large loses its
    words, and stops nothing."""
    index = opened(small.url)
    index.clear()
    words = " ".join(f"w{n}" for n in range(4_000))
    documents = [document(f"m{n:02}", n, body=f"mot {words}") for n in range(60)]
    documents[30] = document("large", 30, body="mot " + " ".join(f"w{n}" for n in range(300_000)))
    index.write(documents)
    found = index.search(parse("*"), limit=1)
    assert (found.total, found.not_fully_indexed) == (60, 1)
    assert "large" not in ids(index)
    assert len(ids(index)) == 59
    assert [r.args for r in caplog.records if r.name.startswith("search.")] == [("large", 413)]
    index.close()


def test_a_cluster_that_takes_no_more_indexes_is_full(engine, small):
    index = opened(small.url)
    index.clear()
    with es.admin(small.url) as admin:
        taken = admin.cluster.health()["active_shards"]
        admin.cluster.put_settings(persistent={"cluster.max_shards_per_node": taken})
        with pytest.raises(StoreFull, match="max_shards_per_node"):
            index.write([document("m1", month="1999-12")])
        admin.cluster.put_settings(persistent={"cluster.max_shards_per_node": None})
    index.write([document("m1", month="1999-12")])
    index.close()


def test_what_was_written_outlives_a_killed_server_and_writing_goes_on(engine, small):
    index = opened(small.url)
    index.clear()
    index.write([document("m1", body="mot")])
    small.kill()
    for use in (lambda: index.write([document("m2", body="mot")]), lambda: ids(index)):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.code == "index.unavailable"
    small.start()
    index.write([document("m2", body="mot")])
    assert ids(index) == ["m1", "m2"]
    assert index.ids() == {"m1": 1, "m2": 1}
    index.close()


# TLS and users


def _certificate(folder, *, days, name="127.0.0.1"):
    """A self-signed certificate that ends in ``days``; its PEM and its key's."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "search")])
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - datetime.timedelta(days=400))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "tls.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return folder / "tls.pem"


PASSWORD = "wort-aus-dem-test"
RIGHTS = """
anybody:
  indices:
    - names: ["archive.*"]
      privileges: ["all"]
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server with TLS and users; the PEM that signs it."""
    folder = tmp_path_factory.mktemp("tls")
    pem = _certificate(folder, days=30)
    with es.running(guard=es.Guard(folder, PASSWORD, RIGHTS)) as server:
        yield server, pem


def test_a_trusted_server_known_credentials_and_the_rights_that_it_takes(engine, guarded):
    """All of what begins with the prefix, and nothing else of the cluster."""
    server, pem = guarded
    for credentials in ({"user": "elastic", "password": PASSWORD}, {}):
        index = opened(server.url, ca_bundle=pem, **credentials)
        index.clear()
        index.write([document("m1", body="mot")])
        made = index.beside()
        made.write([document("m2", body="mot")])
        made.take_place()
        assert (ids(index), index.ids(), index.expunge(within=60)) == (["m2"], {"m2": 1}, True)
        made.close()
        index.close()
    elsewhere = opened(server.url, ca_bundle=pem, prefix="other")
    with pytest.raises(StoreDenied, match="does not allow us this") as caught:
        elsewhere.write([document("m1")])
    assert caught.value.code == "index.denied"
    elsewhere.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "elastic", "password": "wrong"},
        {"api_key": base64.b64encode(b"id:wrong").decode()},
    ],
    ids=["password", "api key"],
)
def test_wrong_credentials(engine, guarded, wrong):
    server, pem = guarded
    index = opened(server.url, ca_bundle=pem, **wrong)
    for use in (lambda: index.write([document("m1")]), lambda: ids(index)):
        with pytest.raises(StoreDenied, match="does not accept our credentials") as caught:
            use()
        assert caught.value.code == "index.denied"
        assert "wrong" not in str(caught.value)
    index.close()


def test_a_certificate_that_nobody_signed(engine, guarded, tmp_path):
    server, _ = guarded
    index = opened(server.url, ca_bundle=_certificate(tmp_path, days=30))
    with pytest.raises(StoreDenied, match="not signed by an authority that we trust") as caught:
        ids(index)
    assert caught.value.code == "index.denied"
    index.close()


@contextmanager
def tls_listener(folder):
    """Accepts one connection after the other with the certificate of a folder; answers nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem", folder / "tls.key")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with suppress(OSError):  # closed under it: the end
                while True:
                    accepted, _ = listening.accept()
                    with suppress(ssl.SSLError), accepted:
                        context.wrap_socket(accepted, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("about", "words"),
    [({"days": -1}, "has expired"), ({"days": 30, "name": "127.0.0.9"}, "is for another name")],
    ids=["expired", "another name"],
)
def test_a_certificate_that_is_no_longer_good(engine, tmp_path, about, words):
    pem = _certificate(tmp_path, **about)
    with tls_listener(tmp_path) as url:
        index = opened(url, ca_bundle=pem)
        with pytest.raises(StoreDenied, match=words) as caught:
            ids(index)
        assert caught.value.code == "index.denied"
        index.close()
