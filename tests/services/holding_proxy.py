"""A proxy on loopback that holds back an answer of the server, so that a test can end the server first."""

import socket
import threading
from contextlib import suppress


class HoldingProxy:
    """Listens on ``port`` and passes on to a port on loopback. After ``hold(word)`` the first answer that ends with
    ``word`` is swallowed: ``held`` is set, and the connection stays open until ``let_go`` cuts it. Close it."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.held = threading.Event()
        self._word: bytes | None = None
        self._after = b""
        self._free = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self, word: bytes, after: bytes) -> None:
        """Hold the next answer that ends with ``word`` once the client has sent something that ends with ``after``."""
        self.held.clear()
        self._free.clear()
        self._word, self._after = word, after

    def let_go(self) -> None:
        """Cut the connection whose answer is held; what comes next passes."""
        self._word = None
        self._free.set()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.upstream))
                except OSError:
                    client.close()  # as a closed port looks, a moment later
                    continue
                asked = threading.Event()
                threading.Thread(target=self._forth, args=(client, server, asked), daemon=True).start()
                threading.Thread(target=self._back, args=(server, client, asked), daemon=True).start()

    def _forth(self, client: socket.socket, server: socket.socket, asked: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self._word is not None and data.endswith(self._after):
                    asked.set()
                server.sendall(data)
        _shut(client, server)
        client.close()

    def _back(self, server: socket.socket, client: socket.socket, asked: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if asked.is_set() and self._word is not None and data.endswith(self._word):
                    self.held.set()
                    self._free.wait(60)
                    break
                client.sendall(data)
        _shut(client, server)
        server.close()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
