"""What goes wrong with Elasticsearch, in our words, and when to ask again.

The server's own texts may hold terms of a query or parts of a document: none is passed on.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from elastic_transport import TlsError
from elasticsearch import (
    ApiError,
    ConnectionTimeout,
    SerializationError,
    TransportError,
    UnsupportedProductError,
)

from archive_service.model.backoff import Backoff
from archive_service.model.errors import StoreDenied, StoreError, StoreFull

_Answer = TypeVar("_Answer")
_KIND = re.compile(r"\b[a-z_]+_exception\b")  # the server's own code, the one part that holds nothing of ours

PASSING = frozenset({429, 502, 503, 504})
"""Answers of a server that has too much to do, or of a cluster that finds itself anew."""


class Passing(StoreError):
    """It may go well the next time. Whether it took effect is unknown."""

    code = "index.unavailable"


class Missing(StoreError):
    """No such index or alias."""

    code = "index.unreadable"


class Refused(StoreError):
    """The server understood and will not. ``reason`` is its own text: to be looked at, never shown or logged."""

    code = "index.refused"

    def __init__(self, status: int, reason: str) -> None:
        kind = _KIND.search(reason)
        super().__init__(f"Elasticsearch refused a request (HTTP {status}{', ' + kind[0] if kind else ''})")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class RetryPolicy(Backoff):
    """See ``Backoff``."""

    first_pause: float = 0.2
    total: float = 30.0

    def run(self, attempt: Callable[[], _Answer]) -> _Answer:
        """The first answer. Raises the StoreError of the last attempt; anything but Passing at once."""
        return self.repeat(lambda: _translated(attempt), Passing)


def _translated(attempt: Callable[[], _Answer]) -> _Answer:
    try:
        return attempt()
    except UnsupportedProductError as error:
        message = "what answers at the address of the search index is no Elasticsearch"
        raise StoreDenied(message, code="index.denied") from error
    except ApiError as error:
        raise of_answer(error.status_code, str(error.body)) from error
    except TlsError as error:
        raise _of_tls(str(error.message)) from error
    except ConnectionTimeout as error:
        raise Passing("Elasticsearch did not answer in time") from error
    except SerializationError as error:
        raise Passing("Elasticsearch gave an answer that cannot be read") from error
    except TransportError as error:
        raise Passing("Elasticsearch cannot be reached") from error


def of_answer(status: int, reason: str) -> StoreError:
    """The error that an HTTP status, of a request or of one item of a bulk, stands for."""
    if "cluster_block_exception" in reason and "read-only" in reason:
        # a full disk: the server blocks writing by itself, and lets go once there is room
        return StoreFull("Elasticsearch takes no writes: its disk is full, or its indexes are read-only")
    if "maximum normal shards open" in reason:
        return StoreFull(
            "Elasticsearch takes no more indexes: raise cluster.max_shards_per_node, or add nodes"
        )
    if status in PASSING:
        return Passing(f"Elasticsearch has no time for us, or is not ready (HTTP {status})")
    if status == 401:
        return StoreDenied("Elasticsearch does not accept our credentials", code="index.denied")
    if status == 403:
        return StoreDenied("Elasticsearch does not allow us this", code="index.denied")
    if status == 404:
        return Missing("the search index is not there; rebuild it")
    return Refused(status, reason)


def _of_tls(reason: str) -> StoreError:
    if "expired" in reason:
        why = "its TLS certificate has expired"
    elif "ostname" in reason or "IP address mismatch" in reason:
        why = "its TLS certificate is for another name"
    elif "CERTIFICATE_VERIFY_FAILED" in reason:
        why = "its TLS certificate is not signed by an authority that we trust"
    else:
        why = "TLS with it fails"
    return StoreDenied(f"Elasticsearch is not trusted: {why}", code="index.denied")
