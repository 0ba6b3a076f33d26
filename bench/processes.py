"""Starting servers for a measurement, and ending them: only these, by their process group."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

READY_SECONDS = 60.0
STOP_SECONDS = 90.0


class BenchError(Exception):
    """A server or load generator did not do what the bench needs; the text says which and what."""


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], log: Path, cwd: Path | None = None, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A server process with its children in a session of their own; stopped on leaving. stdout is a pipe, stderr
    goes to ``log``."""
    with log.open("a") as errors:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask the process to end; then make sure that nothing of its group is left."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdout is not None:
        process.stdout.close()


def wait_for_greeting(port: int, process: subprocess.Popen[str], name: str) -> None:
    """Return when an SMTP server greets on the port. Raises BenchError when it ends or takes too long."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"{name} ended before it was ready, with {process.returncode}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            if connection.recv(3) == b"220":
                connection.sendall(b"QUIT\r\n")
                connection.recv(512)
                return
        time.sleep(0.05)
    raise BenchError(f"{name} did not greet in {READY_SECONDS:.0f} s")
