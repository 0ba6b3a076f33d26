"""A Vault server for tests: the core and the transit engine of HashiCorp Vault itself, over memory, built by
``vault_server/build.sh`` into ``.venv/tools/vault-transit`` (or anywhere on PATH).

``ARCHIVE_TEST_VAULT_URL`` and ``ARCHIVE_TEST_VAULT_TOKEN`` name a server that is used instead: one to play with, with a
transit engine under ``transit``, whose token may do all. It is not sealed by tests then.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import hvac

from tests.services.tools import find_tool, missing


@dataclass(frozen=True)
class Server:
    """A running server. ``unseal``: its unseal key; None: it may not be sealed."""

    url: str
    token: str
    unseal: str | None

    def client(self) -> Any:
        """With all rights."""
        return hvac.Client(url=self.url, token=self.token)


@contextmanager
def vault() -> Iterator[Server]:
    """A server with an empty transit engine. Skips where the program is missing."""
    given = os.environ.get("ARCHIVE_TEST_VAULT_URL")
    if given:
        yield Server(given, os.environ["ARCHIVE_TEST_VAULT_TOKEN"], None)
        return
    binary = find_tool("vault-transit")
    if binary is None:
        missing("Vault", "tests/services/vault_server/build.sh .venv/tools/vault-transit")
    process = subprocess.Popen([binary, "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        server = Server(said["address"], said["token"], said["unseal"])
        client = server.client()
        client.sys.enable_secrets_engine("transit", path="transit")
        client.adapter.close()
        yield server
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
