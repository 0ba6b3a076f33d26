"""Asking an identity provider: over a real socket, bounded, and nowhere that a name should not lead to."""

import socket
import threading
from contextlib import contextmanager

import pytest

from archive_service import web
from archive_service.model.errors import Invalid, Refused, StoreError
from archive_service.web import LARGEST, HttpWeb


@contextmanager
def answering(*pieces, close=True):
    """A server that reads a request, sends the pieces, and then closes or stays silent. What it read is in the list."""
    read: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve():
        connection, _ = listening.accept()
        with connection:
            got = b""
            while b"\r\n\r\n" not in got:
                piece = connection.recv(65536)
                if not piece:
                    return
                got += piece
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in got.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                ),
                0,
            )
            while len(got.partition(b"\r\n\r\n")[2]) < length:
                got += connection.recv(65536)
            read.append(got)
            try:
                for piece in pieces:
                    connection.sendall(piece)
                if not close:
                    done.wait(60)
            except OSError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/keys?x=1", read
    finally:
        done.set()
        listening.close()
        thread.join(60)


def ok(body, *headers):
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body])


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (b"Cache-Control: public, max-age=300, must-revalidate", 300.0),
        (b'cache-control: max-age="60"', 60.0),
        (b"Cache-Control: no-store", 0.0),
        (b"Cache-Control: private", None),
        (b"X: max-age=9", None),
        (b"Cache-Control: s-max-age=9", None),
    ],
    ids=["max-age", "quoted", "no-store", "private", "elsewhere", "shared"],
)
def test_an_answer_and_how_long_it_may_be_kept(said, kept):
    with answering(ok(b"{}", said)) as (url, read):
        answer = HttpWeb().get(url)
    assert (answer.status, answer.body, answer.max_age) == (200, b"{}", kept)
    assert read[0].startswith(b"GET /keys?x=1 HTTP/1.1\r\n")


def test_a_form_is_posted():
    with answering(ok(b"{}")) as (url, read):
        HttpWeb().post(url, {"code": "a b&c", "x": "é"}, {"Authorization": "Basic eA=="})
    assert read[0].startswith(b"POST /keys?x=1 ")
    assert b"Authorization: Basic eA==\r\n" in read[0]
    assert read[0].endswith(b"\r\n\r\ncode=a+b%26c&x=%C3%A9")


def test_a_redirect_is_an_answer_and_is_not_followed():
    with answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n") as (
        url,
        _,
    ):
        assert HttpWeb().get(url).status == 302


def test_an_answer_has_a_largest_size():
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    with answering(head, b"x" * (LARGEST + 10)) as (url, _):
        with pytest.raises(StoreError) as caught:
            HttpWeb().get(url)
    assert caught.value.code == "identity.too_large"


@pytest.mark.parametrize(
    "pieces",
    [(), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx",)],
    ids=["silent", "stalling"],
)
def test_who_does_not_answer_is_left(pieces):
    with answering(*pieces, close=False) as (url, _):
        with pytest.raises(StoreError) as caught:
            HttpWeb(seconds=0.3).get(url)
    assert caught.value.code == "identity.timeout"


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
def test_who_breaks_off_is_a_fault_of_the_provider(answer):
    with answering(answer) as (url, _):
        with pytest.raises(StoreError) as caught:
            HttpWeb().get(url)
    assert caught.value.code == "identity.unreachable"


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/", "https://name.invalid/"):
        with pytest.raises(StoreError) as caught:
            HttpWeb().get(url)
        assert caught.value.code == "identity.unreachable"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "100.100.100.200",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "0.0.0.0",
    ],
)
@pytest.mark.parametrize("beside", [[], ["203.0.113.9"]], ids=["alone", "beside"])
def test_a_name_that_leads_to_metadata_is_not_asked(monkeypatch, address, beside):
    def leads(host, port, **_):
        return [(2, 1, 6, "", (each, port)) for each in [*beside, address]]

    monkeypatch.setattr(web.socket, "getaddrinfo", leads)
    monkeypatch.setattr(web.socket, "create_connection", lambda *_: pytest.fail("it was asked"))
    with pytest.raises(Refused) as caught:
        HttpWeb().get("https://login.example/")
    assert caught.value.code == "identity.address"


def test_a_name_of_this_machine_that_leads_elsewhere_is_not_asked_in_clear(monkeypatch):
    with answering(ok(b"{}")) as (url, read):
        monkeypatch.setattr(web.socket.socket, "getpeername", lambda _: ("203.0.113.9", 80))
        with pytest.raises(Refused):
            HttpWeb().get(url.replace("127.0.0.1", "localhost"))
    assert read == []


@pytest.mark.parametrize("url", ["http://login.example/", "ftp://127.0.0.1/", "https://a@b/"])
def test_what_may_not_be_asked_is_not(url):
    with pytest.raises(Refused):
        HttpWeb().get(url)


def test_authorities_that_cannot_be_read(tmp_path):
    bad = tmp_path / "ca.pem"
    bad.write_text("nothing")
    for path in (bad, tmp_path / "missing"):
        with pytest.raises(Invalid):
            HttpWeb(path)
