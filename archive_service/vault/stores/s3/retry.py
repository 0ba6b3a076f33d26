"""When the S3 store is asked again, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from archive_service.model.backoff import Backoff
from archive_service.vault.stores.s3.failures import Passing

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class RetryPolicy(Backoff):
    """See ``Backoff``."""

    def run(self, attempt: Callable[[], _Answer]) -> _Answer:
        """The first answer. Raises what the last attempt raised; anything but Passing at once."""
        return self.repeat(attempt, Passing)
