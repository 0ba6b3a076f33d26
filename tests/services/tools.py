"""Finding the programs that tests need, free ports, and what to do when a service cannot be had."""

import os
import secrets
import shutil
import socket
from pathlib import Path
from typing import NoReturn

import pytest

TOOLS = Path(__file__).resolve().parents[2] / ".venv" / "tools"


def find_tool(name: str) -> str | None:
    """The path of a program: from ``.venv/tools``, then from PATH."""
    return shutil.which(name, path=str(TOOLS)) or shutil.which(name)


def missing(service: str, how: str) -> NoReturn:
    """Skip the test that needs a service; a failure where all services are required."""
    text = f"{service} is not here: {how}"
    if os.environ.get("ARCHIVE_REQUIRE_SERVICES") == "1":
        pytest.fail(text)
    pytest.skip(text)


_PORTS = 1500  # of each process that runs tests, from _FIRST on: below those that outgoing connections take
_FIRST = 20_000
_given: set[int] = set()


def free_port() -> int:
    """A loopback port that is free now and that nobody else here takes before its user does: it is given once, no other
    worker's, and none of the ephemeral ones (ip(7), ``ip_local_port_range``)."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    while True:
        port = _FIRST + worker * _PORTS + secrets.randbelow(_PORTS)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
