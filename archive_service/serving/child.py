"""What every process under the supervisor does: die with its parent, stop on SIGTERM, say when it is ready."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

PARENT = "ARCHIVE_PARENT_PIPE"
READY = "ARCHIVE_READY_PIPE"


def die_with_parent() -> None:
    """Exit at once when the supervisor is gone, even by ``kill -9``: its end of a pipe closes then."""
    descriptor = os.environ.get(PARENT)
    if descriptor is None:
        return

    def watch() -> None:
        os.read(int(descriptor), 1)
        os._exit(70)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def say_ready() -> None:
    """Tell the supervisor that this role serves."""
    descriptor = os.environ.pop(READY, None)
    if descriptor is not None:
        os.write(int(descriptor), b"\n")
        os.close(int(descriptor))


def on_stop(stop: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM or SIGINT."""

    def handle(number: int, frame: object) -> None:
        del number, frame
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def log_to_stderr(role: str, level: str) -> None:
    """One line an event; messages hold codes and counts, never content."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format=f"%(asctime)s {role}[%(process)d] %(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("mail.log", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel("WARNING")
