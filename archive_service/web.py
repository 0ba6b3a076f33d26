"""Asks identity providers over HTTP: bounded in time and size, redirects not followed, proxies of the environment not
asked, and no link-local or metadata address reached, whatever a name is answered with."""

import http.client
import re
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlencode, urlsplit

from archive_service.access.oidc_providers import is_allowed
from archive_service.access.oidc_source import Answer
from archive_service.alarms.bounded import within
from archive_service.model.errors import Invalid, Refused, StoreError
from archive_service.model.reachable import connect

LARGEST = 512 * 1024
"""Bytes of an answer."""
SECONDS = 5.0
"""For one question, all of it but the look-up of the name."""

_MAX_AGE = re.compile(r"(?:^|[,\s])max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


class HttpWeb:
    """See ``access.oidc_source.Web``."""

    def __init__(self, authorities: Path | None = None, *, seconds: float = SECONDS) -> None:
        """``authorities``: PEM of certificate authorities to trust instead of the system's. Raises Invalid."""
        self._seconds = seconds
        try:
            self._context = ssl.create_default_context(cafile=authorities)
        except (OSError, ssl.SSLError) as error:
            raise Invalid("oidc_ca_bundle cannot be used", code="settings.invalid") from error

    def get(self, url: str) -> Answer:
        """See Web."""
        return self._ask("GET", url, None, {})

    def post(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """See Web."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", url, urlencode(fields).encode("ascii"), {**headers, **form})

    def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        if not is_allowed(url, loopback=True):
            raise Refused("this address is not asked", code="identity.address")
        parts = urlsplit(url)
        started = time.monotonic()
        connected = self._connect(parts)
        try:
            left = max(0.1, self._seconds - (time.monotonic() - started))
            with within(left, connected) as cut:
                answer = self._talk(connected, parts, method, body, headers)
            if cut.late:
                raise StoreError("the identity provider did not answer in time", code="identity.timeout")
        except (OSError, http.client.HTTPException) as error:
            late = isinstance(error, TimeoutError) or time.monotonic() - started >= self._seconds
            code = "identity.timeout" if late else "identity.unreachable"
            raise StoreError("the identity provider did not answer", code=code) from error
        finally:
            connected.close()
        if len(answer.body) > LARGEST:
            raise StoreError("the identity provider's answer is too large", code="identity.too_large")
        return answer

    def _connect(self, parts: SplitResult) -> socket.socket:
        """To the first address that takes it: to the address that was looked at, for a name that is asked twice may
        answer twice. Raises StoreError, Refused."""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            return connect(str(parts.hostname), port, self._seconds / 2)
        except Refused as error:
            message = "the provider's host has an address that is not asked"
            raise Refused(message, code="identity.address") from error
        except (OSError, UnicodeError) as error:
            raise StoreError("the provider cannot be reached", code="identity.unreachable") from error

    def _talk(
        self,
        connected: socket.socket,
        parts: SplitResult,
        method: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Answer:
        connected.settimeout(self._seconds)
        host = str(parts.hostname)
        request = http.client.HTTPConnection(host, parts.port)
        secured = parts.scheme == "https"
        request.sock = self._context.wrap_socket(connected, server_hostname=host) if secured else connected
        if not secured:
            _require_loopback(connected)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        said = {"Accept": "application/json", "User-Agent": "archive-service", "Connection": "close"}
        try:
            request.request(method, path, body, {**said, **headers, "Host": parts.netloc})
            answer = request.getresponse()
            read = answer.read(LARGEST + 1)
            if answer.length and len(read) <= LARGEST:  # a bounded read does not say so by itself
                raise http.client.IncompleteRead(read, answer.length)
            return Answer(answer.status, read, _max_age(answer))
        finally:
            request.close()


def _require_loopback(connected: socket.socket) -> None:
    """``localhost`` is what the resolver says it is. Raises Refused."""
    address = str(connected.getpeername()[0])
    if not (address == "::1" or address.startswith("127.")):
        raise Refused("only this machine is asked in clear", code="identity.address")


def _max_age(answer: http.client.HTTPResponse) -> float | None:
    """RFC 9111 section 5.2.2: how long an answer may be kept; 0 where it may not be."""
    said = answer.getheader("Cache-Control")
    if said is None:
        return None
    if re.search(r"no-store|no-cache", said, re.IGNORECASE):
        return 0.0
    found = _MAX_AGE.search(said)
    return float(found[1]) if found else None
