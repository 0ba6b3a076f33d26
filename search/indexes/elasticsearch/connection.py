"""How to reach an Elasticsearch, and the client that does."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch


@dataclass(frozen=True)
class ElasticsearchConnection:
    """``urls``: one or more nodes of one cluster. ``api_key`` (encoded form), or ``user`` and ``password``, or neither.
    ``ca_bundle``: PEM of what is trusted; None: what the system trusts. ``timeout``: seconds for one answer.
    ``prefix``: what names of indexes begin with; lower case letters, digits, ``-`` and ``_``. ``shards`` and
    ``replicas`` of each month's index."""

    urls: tuple[str, ...]
    api_key: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_bundle: Path | None = None
    timeout: float = 30.0
    prefix: str = "archive"
    shards: int = 1
    replicas: int = 1


def client_of(connection: ElasticsearchConnection) -> Elasticsearch:
    """Connects at the first request. It repeats nothing by itself: ``failures.RetryPolicy`` does."""
    more: dict[str, Any] = {}
    if connection.api_key is not None:
        more["api_key"] = connection.api_key
    elif connection.user is not None:
        more["basic_auth"] = (connection.user, connection.password or "")
    if connection.ca_bundle is not None:
        more["ca_certs"] = str(connection.ca_bundle)
    return Elasticsearch(
        list(connection.urls),
        request_timeout=connection.timeout,
        max_retries=0,
        retry_on_timeout=False,
        **more,
    )
