"""Counters for ``/metrics``: Prometheus text format 0.0.4, without any tenant, person or id."""

import threading
from collections import Counter

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PRIVATE = frozenset({"/v1/compartments", "/v1/exclusions"})
"""What is asked for here only few know of, and anybody may read the counters: it counts as any request for a change."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestCounter:
    """Requests by method, route template and status. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()

    def add(self, method: str, route: str, status: int) -> None:
        """One answered request; ``status`` 0 when the caller went away first. An invented method counts
        as OTHER, so that no caller can make the table grow."""
        if method == "POST" and route in _PRIVATE:
            route, status = "/v1/approvals", 201 if status == 202 else status
        with self._lock:
            self._requests[(method if method in _METHODS else "OTHER", route, status)] += 1

    def text(self) -> str:
        """What a scrape gets."""
        with self._lock:
            rows = sorted(self._requests.items())
        lines = [
            "# HELP archive_http_requests_total HTTP requests answered, by method, route and status.",
            "# TYPE archive_http_requests_total counter",
        ]
        lines += [
            f'archive_http_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}'
            for (method, route, status), count in rows
        ]
        return "\n".join(lines) + "\n"
