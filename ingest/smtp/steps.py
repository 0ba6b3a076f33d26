"""One awaited step of the intake, with a deadline and with every failure turned into its 4xx."""

import asyncio
import logging
from collections.abc import Awaitable
from pathlib import PurePath
from typing import TypeVar

from archive_service.model.errors import ArchiveError
from ingest.smtp import replies
from ingest.smtp.replies import Reply

log = logging.getLogger(__name__)

T = TypeVar("T")


async def attempt(step: str, awaitable: Awaitable[T], seconds: float) -> T | Reply:
    """The outcome of ``awaitable``, or the 4xx reply for its failure.

    Past ``seconds`` it is cancelled and the outcome is unknown, which is never a success. Cancellation
    from outside goes through. Only the kind and place of an unexpected error are logged: its text
    might hold an address.
    """
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        log.warning("intake step %s gave no answer in time", step)
        return replies.TOO_SLOW
    except ArchiveError as error:
        log.warning("intake step %s failed: %s", step, error.code)
        return replies.for_error(error)
    except Exception as error:  # noqa: BLE001 - a bug on our side must not lose mail: it is logged, and a 4xx
        log_unexpected(step, error)
        return replies.NOT_ARCHIVED


def log_unexpected(step: str, error: BaseException) -> None:
    """Log an error that nobody planned for: its type and the line that raised it, never its text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
    log.error("unexpected %s in %s at %s", type(error).__name__, step, place)
