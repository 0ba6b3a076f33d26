"""One timer a session, moved without touching the event loop."""

import asyncio
from collections.abc import Callable


class IdleTimer:
    """Calls ``expired`` when ``start`` was not followed by ``pause`` or a new ``start`` in time.

    Moving the deadline back only stores a number: the loop's timer finds out when it fires. A busy
    session would otherwise make and cancel a loop timer for every command.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._handle: asyncio.TimerHandle | None = None
        self._fires_at = 0.0
        self._deadline: float | None = None

    def start(self, seconds: float) -> None:
        """The peer has ``seconds`` from now."""
        self._deadline = self._loop.time() + seconds
        if self._handle is None or self._deadline < self._fires_at:
            self._arm(self._deadline)

    def pause(self) -> None:
        """It is our turn; the peer has all the time."""
        self._deadline = None

    def cancel(self) -> None:
        """Never call back again."""
        self._deadline = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, when: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._fires_at = when
        self._handle = self._loop.call_at(when, self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._arm(self._deadline)
        else:
            self._deadline = None
            self._expired()
