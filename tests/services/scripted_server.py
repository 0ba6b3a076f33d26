"""A server on loopback that says what a test tells it to: for what no real server would do."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO


class ScriptedServer:
    """Listens on ``port`` and gives each connection's lines to ``talk``, with a file to answer to. Close it."""

    def __init__(self, talk: Callable[[BinaryIO, BinaryIO], None]) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, client.makefile("rb") as lines, client.makefile("wb", 0) as out:
            self._talk(lines, out)  # type: ignore[arg-type]

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()
