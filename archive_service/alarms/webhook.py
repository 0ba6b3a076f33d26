"""The webhook: each notice is posted as JSON, signed.

    X-Archive-Notice: the notice's id, the same at every attempt
    X-Archive-Timestamp: seconds since 1970
    X-Archive-Signature: sha256=HEX, HMAC-SHA256 over TIMESTAMP "." BODY under the secret; absent without one

A receiver checks the signature, refuses old timestamps, and answers 2xx. Redirects are not followed, proxies of the
environment are not asked, and the answer's body is not read.
"""

import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from archive_service.alarms.addresses import resolve
from archive_service.alarms.bounded import within
from archive_service.alarms.notices import Notice
from archive_service.model.errors import Invalid, StoreError
from archive_service.settings import Settings


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the header carries."""
    signed = timestamp.encode("ascii") + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class WebhookChannel:
    """Posts to one URL. ``seconds`` bounds one attempt, all of it but the look-up of the name. Thread-safe."""

    name = "webhook"

    def __init__(
        self,
        url: SplitResult,
        *,
        secret: str | None,
        seconds: float,
        context: ssl.SSLContext | None,
        anywhere: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._secret = secret
        self._seconds = seconds
        self._context = context
        self._anywhere = anywhere
        self._clock = clock

    def deliver(self, notice: Notice) -> None:
        """See Channel. Raises StoreError, Refused."""
        started = time.monotonic()
        body = json.dumps(notice.plain(), separators=(",", ":")).encode()
        connected = self._connect()
        try:
            left = max(0.1, self._seconds - (time.monotonic() - started))
            with within(left, connected) as cut:
                status = self._post(connected, notice, body)
            if cut.late:
                raise StoreError("the webhook did not answer in time", code="alarm.timeout")
        except TimeoutError as error:
            raise StoreError("the webhook did not answer in time", code="alarm.timeout") from error
        except (OSError, http.client.HTTPException) as error:
            late = time.monotonic() - started >= self._seconds
            code = "alarm.timeout" if late else "alarm.unreachable"
            raise StoreError("the webhook did not answer", code=code) from error
        finally:
            connected.close()
        if not 200 <= status < 300:
            raise StoreError(f"the webhook answered {status}", code="alarm.refused")

    def _connect(self) -> socket.socket:
        """To the first address that takes it. Raises StoreError, Refused."""
        failed: Exception | None = None
        for address in resolve(self._url, anywhere=self._anywhere)[:3]:
            try:
                return socket.create_connection(address, self._seconds / 2)
            except OSError as error:
                failed = error
        raise StoreError("the webhook cannot be reached", code="alarm.unreachable") from failed

    def _post(self, connected: socket.socket, notice: Notice, body: bytes) -> int:
        """The answer's status. Raises OSError, HTTPException."""
        connected.settimeout(self._seconds)
        host = str(self._url.hostname)
        timestamp = str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "archive-service",
            "X-Archive-Notice": notice.id,
            "X-Archive-Timestamp": timestamp,
            "Connection": "close",
        }
        if self._secret is not None:
            headers["X-Archive-Signature"] = signature(self._secret, timestamp, body)
        request = http.client.HTTPConnection(host, self._url.port)
        request.sock = (
            self._context.wrap_socket(connected, server_hostname=host)
            if self._context is not None
            else connected
        )
        path = self._url.path or "/"
        request.request("POST", f"{path}?{self._url.query}" if self._url.query else path, body, headers)
        try:
            return request.getresponse().status
        finally:
            request.close()


def webhook_of(settings: Settings) -> WebhookChannel | None:
    """The webhook of the settings, if one is set. Raises Invalid; the URL is not shown, for it may hold a secret."""
    if settings.alarm_webhook_url is None:
        return None
    try:
        url = urlsplit(settings.alarm_webhook_url.get_secret_value())
        fits = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in url.netloc or not f"{url.path}{url.query}".isascii():
        reason = "alarm_webhook_url must be http:// or https://, with a host and without user and password"
        raise Invalid(reason, code="settings.invalid")
    secret = settings.alarm_webhook_secret
    return WebhookChannel(
        url,
        secret=secret.get_secret_value() if secret is not None else None,
        seconds=settings.alarm_webhook_seconds,
        context=_context(settings.alarm_webhook_ca_bundle) if url.scheme == "https" else None,
        anywhere=settings.alarm_webhook_any_address,
    )


def _context(authorities: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities)
    except (OSError, ssl.SSLError) as error:
        raise Invalid("alarm_webhook_ca_bundle cannot be used", code="settings.invalid") from error
