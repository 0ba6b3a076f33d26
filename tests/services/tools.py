"""Finding the programs that tests need, free ports, and what to do when a service cannot be had."""

import os
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


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
