"""What wraps every request: its id, the security headers, the last resort, the bound on bodies."""

import asyncio
import logging
import re
import traceback
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from archive_service.api.metrics import RequestCounter
from archive_service.api.problems import problem, unexpected

_log = logging.getLogger(__name__)

LARGEST_BODY = 1024 * 1024  # bytes
LARGEST_DOCUMENT = 6 * 1024 * 1024  # bytes: 4 MiB in base64, and what goes with it
_WITH_DOCUMENT = re.compile(r"/v1/(orders|eliminations/[^/]+/visa)")

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Unfit(Exception):
    """A body that is not taken, and what is answered."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code = status, code


def _cut_off(status: int, code: str, detail: str) -> ASGIApp:
    """An answer after which the server reads no more of this connection."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope["state"]["request_id"]
        await problem(status, code, detail, request_id, headers={"Connection": "close"})(scope, receive, send)

    return answering


class AnswerBrokenOff(Exception):
    """The server must cut the connection: an answer that had begun cannot be finished."""


class Envelope:
    """Outermost: gives a request its id, an answer its headers, a fault nobody foresaw its problem
    document, and counts it (``app.state.counter``). The fault's own text may hold content and is not logged; its
    place is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers.update(SECURITY_HEADERS)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001  the last resort: logged, answered, never passed on
            _report(request_id, error)
            if status:
                raise AnswerBrokenOff(request_id) from None
            await unexpected(request_id)(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path_format", "unmatched")
            counter: RequestCounter = scope["app"].state.counter
            counter.add(scope["method"], route, status)


class BodyLimit:
    """Takes a request's body whole, up to 1 MiB, or 6 where it brings a document, before anything else sees it; beyond
    that, 413. One that does not come in time is 408, and the server cuts the connection."""

    def __init__(self, app: ASGIApp, largest: int = LARGEST_BODY, seconds: float = 30.0) -> None:
        self._app = app
        self._largest = largest
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._body(scope, receive)
        except TimeoutError:
            slow = "request.too_slow", "the request's body did not come in time"
            await _cut_off(408, *slow)(scope, receive, send)
        except _Unfit as unfit:
            await _cut_off(unfit.status, unfit.code, str(unfit))(scope, receive, send)
        else:
            if body is not None:
                await self._app(scope, _replaying(body, receive), send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """All of it; None when the caller went away. Raises _Unfit."""
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers and "content-length" in headers:
            raise _Unfit(400, "request.malformed", "a body has one length")  # RFC 9112 section 6.1: smuggling
        largest = self._largest_for(scope)
        too_large = _Unfit(413, "request.too_large", f"a request body holds at most {largest >> 20} MiB here")
        if _exceeds(headers.get("content-length", "0"), largest):
            raise too_large
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > largest:
                raise too_large
        return bytes(body)

    def _largest_for(self, scope: Scope) -> int:
        brings = scope["method"] == "POST" and _WITH_DOCUMENT.fullmatch(scope["path"]) is not None
        return max(self._largest, LARGEST_DOCUMENT) if brings else self._largest


def _exceeds(declared: str, largest: int) -> bool:
    """A length with more digits than any we take is not even converted."""
    return declared.isdecimal() and (len(declared) > 12 or int(declared) > largest)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """The body in one message, then whatever the server says next (the disconnect)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _report(request_id: str, error: Exception) -> None:
    frames = traceback.extract_tb(error.__traceback__)[-12:]
    places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    _log.error("request %s failed: %s at %s", request_id, type(error).__qualname__, places)
