"""Where alarms go: the channels of the settings, and a thread for each that hands over what waits for it.

A channel that fails keeps what it was to tell, and is tried again at the next run; no other channel and no evaluation
waits for it.
"""

import logging
import threading
from typing import Protocol

from archive_service.alarms import names
from archive_service.alarms.mail import MailChannel, mail_of
from archive_service.alarms.notices import Notice
from archive_service.alarms.state import Memory
from archive_service.alarms.tally import Tally
from archive_service.alarms.webhook import WebhookChannel, webhook_of
from archive_service.model.errors import ArchiveError
from archive_service.settings import Settings

_log = logging.getLogger(__name__)
_PAUSES = (1.0, 3.0)  # seconds between the attempts of one run


class Channel(Protocol):
    """One way to reach people."""

    @property
    def name(self) -> str:
        """A word for metrics and commands."""
        ...

    def deliver(self, notice: Notice) -> None:
        """Hand over one notice, within a bounded time. Raises ArchiveError: it may, or may not, have arrived."""
        ...


def channels_of(settings: Settings) -> list[Channel]:
    """The channels that are set. Raises Invalid (``settings.invalid``) when one is set half, or in a way that cannot be
    meant."""
    found: list[WebhookChannel | MailChannel | None] = [webhook_of(settings), mail_of(settings)]
    return [channel for channel in found if channel is not None]


class Postman:
    """Hands over what waits for one channel, oldest first, in a thread of its own."""

    def __init__(self, channel: Channel, memory: Memory, tally: Tally) -> None:
        self._channel = channel
        self._memory = memory
        self._tally = tally
        self._tally.add(names.ALARM_CHANNEL_FAILURES, 0, channel=channel.name)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"alarm-{channel.name}", daemon=True)

    def start(self) -> None:
        """Begin with what still waits from before."""
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """Look again: something waits, or what failed may be tried again."""
        self._wake.set()

    def close(self, seconds: float) -> None:
        """Stop after the delivery under way, but wait for it no longer than that: what is not delivered stands in the
        state file."""
        self._stop.set()
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            self._hand_over()

    def _hand_over(self) -> None:
        while not self._stop.is_set():
            notice = self._memory.first(self._channel.name)
            if notice is None or not self._attempts(notice):
                return
            self._memory.delivered(self._channel.name, notice)

    def _attempts(self, notice: Notice) -> bool:
        """Whether it was taken, at the first attempt or after a pause."""
        for pause in (*_PAUSES, None):
            try:
                self._channel.deliver(notice)
            except ArchiveError as error:
                self._tally.add(names.ALARM_CHANNEL_FAILURES, channel=self._channel.name)
                _log.error("alarm channel %s failed: %s", self._channel.name, error.code)
                if pause is None or self._stop.wait(pause):
                    return False
            else:
                return True
        return False
