"""How to reach an Elasticsearch, and the client that does."""

import base64
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from elasticsearch import Elasticsearch

from archive_service.model.errors import Invalid

_API_KEY = re.compile(r"[\x21-\x7e]+")
_LOGIN = re.compile(r"[^\x00-\x1f\x7f]*")


@dataclass(frozen=True)
class ElasticsearchConnection:
    """``urls``: one or more nodes of one cluster. ``api_key`` (encoded form), or ``user`` and ``password``, or neither.
    ``ca_bundle``: PEM of what is trusted; None: what the system trusts. ``timeout``: seconds for one answer.
    ``prefix``: what names of indexes begin with; lower case letters, digits, ``-`` and ``_``. ``shards`` and
    ``replicas`` of each month's index.

    Raises Invalid (``settings.invalid``) for what no server could be reached by. Neither a URL nor a secret is in its
    words: the client's own complaints would show them.
    """

    urls: tuple[str, ...]
    api_key: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_bundle: Path | None = None
    timeout: float = 30.0
    prefix: str = "archive"
    shards: int = 1
    replicas: int = 1

    def __post_init__(self) -> None:
        schemes = {_scheme(url) for url in self.urls}
        self._check_credentials()
        if self.ca_bundle is not None:
            if schemes != {"https"}:
                raise _wrong("es_ca_bundle says whom to trust, so every URL of es_url must be https://")
            _check_trusted(self.ca_bundle)

    def _check_credentials(self) -> None:
        if self.api_key is not None and (self.user is not None or self.password is not None):
            raise _wrong("give either es_api_key, or es_user and es_password")
        if (self.user is None) != (self.password is None):
            raise _wrong("es_user and es_password go together")
        if self.api_key is not None and not _API_KEY.fullmatch(self.api_key):
            raise _wrong("es_api_key holds a blank, a line break or what no API key is made of")
        if not _LOGIN.fullmatch(self.user or "") or not _LOGIN.fullmatch(self.password or ""):
            raise _wrong("es_user or es_password holds a line break or another control character")
        if ":" in (self.user or ""):
            raise _wrong("es_user holds a colon")


def _wrong(message: str) -> Invalid:
    return Invalid(message, code="settings.invalid")


def _scheme(url: str) -> str:
    """``http`` or ``https``. Raises Invalid."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # a port that is no number
        whole = False
    if not whole or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise _wrong("es_url is not https://HOST:PORT, or several of them separated by commas")
    if parts.username is not None or parts.password is not None:
        raise _wrong("es_url holds a login: give es_user and es_password, which are kept as secrets")
    if parts.query or parts.fragment:
        raise _wrong("es_url holds more than scheme, host, port and path")
    return parts.scheme


def _check_trusted(bundle: Path) -> None:
    """Raises Invalid when nobody could be trusted by it."""
    try:
        ssl.create_default_context(cafile=str(bundle))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise _wrong("the file of es_ca_bundle cannot be read, or holds no certificates (PEM)") from error


def client_of(connection: ElasticsearchConnection) -> Elasticsearch:
    """Connects at the first request. It repeats nothing by itself: ``failures.RetryPolicy`` does."""
    more: dict[str, Any] = {}
    if connection.api_key is not None:
        more["api_key"] = connection.api_key
    elif connection.user is not None:
        # The client's own ``basic_auth`` takes ASCII alone.
        login = f"{connection.user}:{connection.password}".encode()
        more["headers"] = {"authorization": f"Basic {base64.b64encode(login).decode('ascii')}"}
    if connection.ca_bundle is not None:
        more["ca_certs"] = str(connection.ca_bundle)
    return Elasticsearch(
        list(connection.urls),
        request_timeout=connection.timeout,
        max_retries=0,
        retry_on_timeout=False,
        **more,
    )
