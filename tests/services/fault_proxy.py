"""A proxy on loopback before an S3 service that loses requests or their answers, where a test says so.

LOST: the request is not passed on; the caller gets an error or a cut connection. KEPT: it is passed on and done, then
the caller gets that instead of the answer. SLOW: it waits for the test, then goes on as usual. A plan as in
``archive_service/vault/stores/faults.py``, by what is on the wire.
"""

import http.client
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from archive_service.vault.stores.faults import Effect

CUT, TORN = "cut", "torn"
"""Instead of a status: close the connection without a byte, or in the middle of the answer's body."""

_CODES = {
    409: "ConditionalRequestConflict",
    429: "TooManyRequests",
    500: "InternalError",
    501: "NotImplemented",
}


@dataclass(frozen=True)
class Request:
    """A request as it arrived. ``key``: the object, or the prefix of a listing; ``query``: names in the query."""

    method: str
    key: str
    query: frozenset[str]


@dataclass
class Fault:
    """One planned fault; made by ``FaultProxy.fail``."""

    method: str
    key: str
    query: str | None
    nth: int
    times: int | None
    effect: Effect
    answer: int | str
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    seen: int = 0

    def meets(self, request: Request) -> bool:
        """Counts the request if it is of the kind, and says whether its turn has come."""
        of_kind = request.method == self.method and request.key.startswith(self.key)
        if not of_kind or (self.query is not None and self.query not in request.query):
            return False
        self.seen += 1
        return self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)


class FaultProxy:
    """Listens on a free loopback port; ``url`` is what to use instead of the service's. Close it."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._mutex = threading.Lock()
        self._faults: list[Fault] = []
        self._requests: list[Request] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(
        self,
        method: str,
        key: str = "",
        *,
        query: str | None = None,
        nth: int = 1,
        times: int | None = 1,
        effect: Effect = Effect.LOST,
        answer: int | str = 503,
    ) -> Fault:
        """Plan a fault for the ``nth`` request of ``method`` about a key beginning with ``key`` (and with ``query``
        among the names in its query string) from now on, and ``times`` - 1 further ones (None: all)."""
        fault = Fault(method, key, query, nth, times, effect, answer)
        with self._mutex:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """No more faults; slow requests go on."""
        with self._mutex:
            faults, self._faults = self._faults, []
        for fault in faults:
            fault.release.set()

    @property
    def requests(self) -> list[Request]:
        """All requests so far, in the order of arrival."""
        with self._mutex:
            return list(self._requests)

    def close(self) -> None:
        """Stop listening."""
        self.heal()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def met(self, request: Request) -> list[Fault]:
        """The faults whose turn it is."""
        with self._mutex:
            self._requests.append(request)
            return [fault for fault in self._faults if fault.meets(request)]

    def forward(
        self, method: str, path: str, headers: Any, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Pass a request on as it is; its whole answer."""
        connection = http.client.HTTPConnection(self._upstream, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in {"connection", "expect"}:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer waits 40 ms for a delayed acknowledgement

            def log_message(self, *_: Any) -> None:
                pass

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                faults = proxy.met(_request(self.command, self.path))
                for fault in faults:
                    fault.reached.set()
                    if fault.effect is Effect.SLOW:
                        fault.release.wait()
                    elif fault.effect is Effect.LOST:
                        self._refuse(fault.answer)
                        return
                status, headers, data = proxy.forward(self.command, self.path, self.headers, body)
                for fault in faults:
                    if fault.effect is Effect.KEPT and fault.answer != TORN:
                        self._refuse(fault.answer)
                        return
                torn = any(fault.effect is Effect.KEPT for fault in faults)
                self._answer(status, headers, data, torn=torn)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve

            def _refuse(self, answer: int | str) -> None:
                if isinstance(answer, str):
                    self._cut()
                    return
                code = _CODES.get(answer, "ServiceUnavailable")
                data = f"<Error><Code>{code}</Code><Message>planned</Message></Error>".encode()
                self._answer(answer, [("Content-Type", "application/xml")], data)

            def _answer(
                self, status: int, headers: list[tuple[str, str]], data: bytes, *, torn: bool = False
            ) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in {"connection", "content-length", "transfer-encoding"}:
                        self.send_header(name, value)
                head = self.command == "HEAD"
                length = {n.lower(): v for n, v in headers}.get("content-length") if head else None
                self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                if not head:
                    self.wfile.write(data[: len(data) // 2] if torn else data)
                if torn:
                    self._cut()

            def _cut(self) -> None:
                self.close_connection = True
                with suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)

        return Handler


def _request(method: str, path: str) -> Request:
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    key = unquote(parts.path).lstrip("/").partition("/")[2]
    return Request(method, key or query.get("prefix", [""])[0], frozenset(query))
