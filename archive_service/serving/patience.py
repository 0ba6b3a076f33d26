"""How long a client may take to say what it wants. The server has no bound of its own once the first byte of a
request's head has come (uvicorn closes idle connections only), so whoever trickles heads would hold connections for
ever. Bodies are bounded by ``api.middleware.BodyLimit``."""

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol


class PatientHttp(H11Protocol):
    """HTTP/1.1 that closes a connection whose request's head is not there in time, the first or a later one."""

    seconds = 30.0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """The time for the first head begins."""
        super().connection_made(transport)
        self._await_head()

    def on_response_complete(self) -> None:
        """The time for the next head begins."""
        self._await_head()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        super().connection_lost(exc)
        self._forget()

    def _await_head(self) -> None:
        self._forget()
        self._late = self.loop.call_later(self.seconds, self._close_late)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close_late(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def patient(seconds: float) -> type[asyncio.Protocol]:
    """The protocol for a server, with so much time for a head."""
    return cast(type[asyncio.Protocol], type("PatientHttp", (PatientHttp,), {"seconds": seconds}))
