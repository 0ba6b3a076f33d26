"""Who alarms are told to, in tests: a real HTTP server and a real SMTP server on loopback."""

import json
import queue
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.services.tools import free_port

PATIENCE = 60.0


@dataclass(frozen=True)
class Posted:
    """What a webhook received."""

    path: str
    headers: dict[str, str]
    body: bytes

    def notice(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


Answer = Callable[[BaseHTTPRequestHandler], None]


def status(code: int, **headers: str) -> Answer:
    """Answer with a bare status."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@dataclass
class Webhook:
    """``answer`` may be replaced at any time; ``done`` ends answers that wait."""

    port: int
    posted: "queue.Queue[Posted]" = field(default_factory=queue.Queue)
    answer: Answer = field(default_factory=lambda: status(204))
    done: threading.Event = field(default_factory=threading.Event)

    def url(self, scheme: str = "http", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{host}:{self.port}/hook?to=ops"

    def next(self) -> Posted:
        return self.posted.get(timeout=PATIENCE)


@contextmanager
def webhook(context: ssl.SSLContext | None = None) -> Iterator[Webhook]:
    """A receiver on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.posted.put(Posted(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            receiver.answer(self)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver = Webhook(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.done.set()
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class MailSink:
    """``users``: who may log in."""

    port: int
    mails: "queue.Queue[tuple[Envelope, Message]]" = field(default_factory=queue.Queue)
    users: dict[bytes, bytes] = field(default_factory=dict)
    refuse: set[str] = field(default_factory=set)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return "550 5.1.1 no such recipient"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.mails.put((envelope, message_from_bytes(envelope.content)))
        return "250 2.0.0 taken"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, how: str, data: Any
    ) -> AuthResult:
        known = isinstance(data, LoginPassword) and self.users.get(data.login) == data.password
        return AuthResult(success=known, handled=False)

    def next(self) -> Message:
        return self.mails.get(timeout=PATIENCE)[1]


@contextmanager
def mail_sink(context: ssl.SSLContext | None = None, **users: str) -> Iterator[MailSink]:
    """A server on a free port; with a context it insists on STARTTLS, with users on a login."""
    port = free_port()  # aiosmtpd connects to itself and must know it
    sink = MailSink(port, users={name.encode(): password.encode() for name, password in users.items()})
    controller = Controller(
        sink,
        hostname="127.0.0.1",
        port=port,
        tls_context=context,
        require_starttls=context is not None,
        authenticator=sink.authenticate if users else None,
        auth_required=bool(users),
        auth_exclude_mechanism=[
            "LOGIN"
        ],  # after a wrong password it waits for a line that smtplib never sends
    )
    controller.start()
    try:
        yield sink
    finally:
        controller.stop(no_assert=True)


def certificate(folder: Path, days: int = 2) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and its key, as PEM files."""
    pem, key = folder / "cert.pem", folder / "key.pem"
    what = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days)]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*what, *names, "-keyout", key, "-out", pem], check=True, capture_output=True)
    return pem, key


def server_context(pem: Path, key: Path) -> ssl.SSLContext:
    """The server's side of TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    return context


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as receiver:
        yield receiver


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as receiver:
        yield receiver
