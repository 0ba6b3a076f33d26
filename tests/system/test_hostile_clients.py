"""Clients that do not mean well, on the real server's socket: each is cut off or refused, and the next is served.

No time is measured: the server has a short patience, and a test ends when the server does what it says.
"""

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

from tests.system.test_service import Running, command, make, start

BOUND = 60.0  # seconds until a server that does not act fails a test


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("archive")
    running = start(data, make(data), "--role", "api", ARCHIVE_API_PATIENCE="1", ARCHIVE_API_CONNECTIONS="20")
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def bearer(service: Running) -> bytes:
    return b"Authorization: Bearer " + service.token("legal").encode()


def connected(service: Running) -> socket.socket:
    host, _, port = service.where["http"].rpartition(":")
    return socket.create_connection((host, int(port)), BOUND)


def answer(client: socket.socket) -> bytes:
    """Everything until the server closes."""
    read = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            read += part
    return read


def trickled(client: socket.socket, byte: bytes) -> bytes:
    """Send a byte, again and again, until the server answers or closes; the answer."""
    for _ in range(int(BOUND * 20)):
        if select.select([client], [], [], 0.05)[0]:
            return answer(client)
        try:
            client.sendall(byte)
        except (BrokenPipeError, ConnectionResetError):
            return answer(client)
    raise AssertionError("the server waits for ever")


def head(bearer: bytes, length: int, *more: bytes) -> bytes:
    fields = (b"Host: archive", bearer, b"Content-Type: application/json", *more)
    length_field = b"Content-Length: %d" % length
    return b"\r\n".join((b"POST /v1/search HTTP/1.1", *fields, length_field, b"", b""))


@pytest.fixture(autouse=True)
def still_there(service: Running) -> Iterator[None]:
    yield
    with connected(service) as client:
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: archive\r\nConnection: close\r\n\r\n")
        assert answer(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "begun", [b"", b"GET /v1/jobs HTTP/1.1\r\nHost: archive\r\nX-Slow: "], ids=["no", "half"]
)
def test_a_head_that_does_not_come_is_not_waited_for(service: Running, begun: bytes) -> None:
    with connected(service) as client:
        client.sendall(begun)
        assert answer(client) == b""


def test_connections_beyond_the_bound_are_turned_away_and_room_comes_back(service: Running) -> None:
    for _ in range(20):  # who holds a connection is cut off meanwhile, on a machine that is slow enough
        with contextlib.ExitStack() as held:
            for _ in range(20):
                held.enter_context(connected(service))
            last = held.enter_context(connected(service))
            last.sendall(b"GET /health/live HTTP/1.1\r\nHost: archive\r\nConnection: close\r\n\r\n")
            if answer(last).startswith(b"HTTP/1.1 503"):
                return  # ``still_there`` sees that the next is served
    raise AssertionError("never turned away")


def test_a_head_that_trickles_is_cut_off(service: Running) -> None:
    with connected(service) as client:
        client.sendall(b"GET /v1/jobs HTTP/1.1\r\nX-Slow: ")
        assert trickled(client, b"a") == b""


def test_a_second_head_that_trickles_is_cut_off_too(service: Running) -> None:
    with connected(service) as client:
        client.sendall(b"GET /health/live HTTP/1.1\r\nHost: archive\r\n\r\nGET /health/live HTTP/1.1\r\nX: ")
        first = client.recv(65536)
        assert first.startswith(b"HTTP/1.1 200")
        assert b"HTTP/1.1 200" not in trickled(client, b"a")[1:]


def test_a_body_that_trickles_is_cut_off(service: Running, bearer: bytes) -> None:
    with connected(service) as client:
        client.sendall(head(bearer, 1000) + b"{")
        refused = trickled(client, b" ")
        assert refused.startswith(b"HTTP/1.1 408")
        assert b"request.too_slow" in refused


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(service: Running, bearer: bytes) -> None:
    with connected(service) as client:
        client.sendall(head(bearer, 1 << 40))
        assert answer(client).startswith(b"HTTP/1.1 413")


def test_a_body_in_chunks_is_bounded(service: Running, bearer: bytes) -> None:
    chunked = head(bearer, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with connected(service) as client:
        client.sendall(chunked + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 17)
        assert answer(client).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /v1/jobs\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: a\r\nX: a\rInjected: b\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
        b"POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/search HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["tls", "no-version", "no-host", "cr", "nul", "space", "lengths", "negative", "header", "path"],
)
def test_what_is_no_http_is_refused_and_cut_off(service: Running, sent: bytes) -> None:
    with connected(service) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(sent)
        assert answer(client)[:12] in (b"HTTP/1.1 400", b"")


def test_two_lengths_smuggle_no_second_request(service: Running, bearer: bytes) -> None:
    smuggled = b"0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    with connected(service) as client:
        client.sendall(head(bearer, len(smuggled), b"Transfer-Encoding: chunked") + smuggled)
        answers = answer(client)
    assert answers.count(b"HTTP/1.1 ") == 1
    assert answers.startswith(b"HTTP/1.1 400")


def test_none_of_this_kept_the_archive_from_being_whole(service: Running) -> None:
    problems = command("verify", "--data", service.data)["problems"]
    assert [each for each in problems if each["severity"] != "note"] == []
    assert service.http("GET", "/v1/jobs")[0] == 200
