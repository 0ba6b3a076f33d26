"""Who takes an answer too slowly is cut off; who is slow and honest is not. On real sockets, and by our own clock."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn

from archive_service.serving import patience
from archive_service.serving.patience import SLOWEST, patient

BOUND = 60_000  # milliseconds until a server that does not act fails a test
LARGE = 64 << 20  # more than any kernel holds


async def app(scope, receive, send):
    """An answer of as many bytes as the path says, in pieces or (``/whole/N``) at once."""
    assert scope["type"] == "http"
    *_, how, size = scope["path"].split("/")
    length = int(size)
    headers = [(b"content-length", b"%d" % length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if how == "whole":
        await send({"type": "http.response.body", "body": bytes(length)})
        return
    sent = 0
    while sent < length:
        piece = bytes(min(65536, length - sent))
        sent += len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": sent < length})


@contextmanager
def serving(seconds: float) -> Iterator[int]:
    ready = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            ready.set()

    config = uvicorn.Config(
        app, http=patient(seconds), lifespan="off", log_config=None, timeout_graceful_shutdown=1
    )
    server = Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    ready.wait()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def port():
    with serving(0.02) as found:
        yield found


def asking(port: int, path: str) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.settimeout(BOUND / 1000)
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: archive\r\n\r\n".encode())
    return client


def was_cut_off(client: socket.socket) -> bool:
    """Waits, without reading a byte, until the server has broken the connection off."""
    poll = select.poll()
    poll.register(client, 0)
    return bool(poll.poll(BOUND))


@pytest.mark.parametrize("how", ["pieces", "whole"])
def test_who_stops_reading_is_cut_off(port, how):
    with asking(port, f"/{how}/{LARGE}") as client:
        assert was_cut_off(client)


def test_who_takes_the_last_of_an_answer_never_is_cut_off_too(port):
    """The answer is complete and fits into what is held for the client: nothing but the close waits for it."""
    with asking(port, f"/pieces/{4 << 20}") as client:
        assert was_cut_off(client)


def test_an_honest_reader_gets_everything():
    """With a patience that no busy machine uses up: how slow he may be is for the tests with a clock of their own."""
    with serving(10.0) as port, asking(port, f"/pieces/{24 << 20}") as client:
        read = 0
        while read < 24 << 20:
            part = client.recv(8192)
            assert part
            read += len(part)


class Clock:
    """A loop whose time passes when a test says so."""

    def __init__(self):
        self.due = []

    def call_later(self, seconds, call):
        handle = type(
            "Handle", (), {"cancel": lambda own: self.due.remove(own), "call": staticmethod(call)}
        )()
        self.due.append(handle)
        return handle

    def pass_(self):
        (handle,) = self.due
        self.due.clear()
        handle.call()


class Line:
    """A transport of which a test says how much was taken."""

    closing = aborted = False

    def __init__(self, left):
        self.left = left

    def get_write_buffer_size(self):
        return self.left

    def get_extra_info(self, name):
        return self

    def fileno(self):
        return -1

    def setsockopt(self, *given):
        pass

    def is_closing(self):
        return self.closing

    def abort(self):
        self.aborted = True


@pytest.fixture
def held():
    made = patience.PatientHttp.__new__(patience.PatientHttp)
    made.loop, made.transport = Clock(), Line(1 << 20)
    made.flow = type("Flow", (), {"write_paused": False})()
    made.flow.pause_writing = lambda: setattr(made.flow, "write_paused", True)
    made.flow.resume_writing = lambda: setattr(made.flow, "write_paused", False)
    made.pause_writing()
    return made


ENOUGH = int(30 * patience._WINDOW * SLOWEST)


@pytest.mark.parametrize(("taken", "cut"), [(ENOUGH, False), (ENOUGH - 1, True), (0, True)])
def test_the_rate_that_is_asked_for_is_held_over_each_window(held, taken, cut):
    for _ in range(3):
        held.transport.left -= ENOUGH
        held.loop.pass_()
        assert not held.transport.aborted
    held.transport.left -= taken
    held.loop.pass_()
    assert held.transport.aborted == cut


def test_what_was_taken_between_two_pauses_counts(held):
    """64 KiB at a time, and more is written each time: what waits never gets less, and yet it moves."""
    for _ in range(5):
        for _ in range(2):
            held.transport.left -= ENOUGH // 2
            held.resume_writing()
            held.transport.left += ENOUGH // 2
            held.pause_writing()
        held.loop.pass_()
        assert not held.transport.aborted
    held.loop.pass_()
    assert held.transport.aborted


def test_who_keeps_up_is_not_watched(held):
    held.resume_writing()
    held.loop.pass_()
    assert not held.transport.aborted
    assert held.loop.due == []
    held.pause_writing()
    assert len(held.loop.due) == 1
