"""Settings by which no Elasticsearch could be reached are refused in words that hold neither URL nor secret."""

import base64
import threading
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from archive_service.model.errors import Invalid, StoreDenied
from search.indexes.elasticsearch import ElasticsearchConnection, ElasticsearchIndex
from search.query_language import parse
from tests.services.elasticsearch import AT_ONCE

HERE = "https://es.example.org:9200"
SECRET = "geheim"


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        (("es.example.org:9200",), "https://HOST:PORT"),
        (("es.example.org",), "https://HOST:PORT"),
        ((HERE, ""), "https://HOST:PORT"),
        (("ftp://es.example.org",), "https://HOST:PORT"),
        (("https://:9200",), "https://HOST:PORT"),
        (("https://es.example.org:port",), "https://HOST:PORT"),
        (("https://es.example.org:99999",), "https://HOST:PORT"),
        (("https://es.example .org:9200",), "https://HOST:PORT"),
        ((HERE + "\n",), "https://HOST:PORT"),
        ((f"https://archive:{SECRET}@es.example.org:9200",), "holds a login"),
        ((f"https://{SECRET}@es.example.org:9200",), "holds a login"),
        ((f"{HERE}?key={SECRET}",), "more than scheme"),
    ],
)
def test_elasticsearch_urls_that_lead_nowhere(urls, words):
    with pytest.raises(Invalid, match=words) as caught:
        ElasticsearchConnection(urls)
    assert caught.value.code == "settings.invalid"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9200", "https://es.example.org", "https://[::1]:9200", HERE + "/search"]
)
def test_elasticsearch_urls_that_may_lead_somewhere(url):
    ElasticsearchIndex(ElasticsearchConnection((url,)), "acme").close()


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ({"api_key": SECRET + "\n"}, "a line break"),  # as a Secret that was made from a file holds it
        ({"api_key": SECRET + " x"}, "a blank"),
        ({"api_key": SECRET + "é"}, "what no API key is made of"),
        ({"api_key": ""}, "es_api_key"),
        ({"api_key": SECRET, "user": "archive", "password": SECRET}, "either es_api_key"),
        ({"user": "archive"}, "go together"),
        ({"password": SECRET}, "go together"),
        ({"user": "archive", "password": SECRET + "\r\nX: y"}, "a line break"),
        ({"user": "arch:ive", "password": SECRET}, "a colon"),
    ],
)
def test_elasticsearch_credentials_that_no_request_could_carry(credentials, words):
    with pytest.raises(Invalid, match=words) as caught:
        ElasticsearchConnection((HERE,), **credentials)
    assert caught.value.code == "settings.invalid"
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_elasticsearch_authorities_that_cannot_be_read_or_have_nothing_to_check(tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate\n")
    for bundle in (empty, tmp_path / "missing.pem", tmp_path):
        with pytest.raises(Invalid, match="es_ca_bundle cannot be read") as caught:
            ElasticsearchConnection((HERE,), ca_bundle=bundle)
        assert caught.value.code == "settings.invalid"
    with pytest.raises(Invalid, match="must be https"):
        ElasticsearchConnection((HERE, "http://es.example.org:9200"), ca_bundle=empty)


def test_elasticsearch_a_password_may_hold_any_letter():
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(self.headers["Authorization"])
            self.send_response(401)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        there = ElasticsearchConnection(
            (f"http://127.0.0.1:{server.server_port}",), user="anne", password="clé €:x"
        )
        index = ElasticsearchIndex(there, "acme", writing=AT_ONCE, reading=AT_ONCE)
        with pytest.raises(StoreDenied):
            index.search(parse("*"), limit=1)
        thread.join()
        index.close()
    assert base64.b64decode(heard[0].removeprefix("Basic ")).decode() == "anne:clé €:x"
