"""A proxy on loopback that cuts connections after so many bytes of the server's, as a bad line would."""

import socket
import threading
from contextlib import suppress


class CuttingProxy:
    """Listens on ``port``; passes on to a port on loopback. Close it. ``cuts``: for each connection in turn after how
    many bytes from the server it is cut; those behind the last are left alone."""

    def __init__(self, upstream: int, *cuts: int) -> None:
        self._upstream = upstream
        self._cuts = list(cuts)
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                left = self._cuts.pop(0) if self._cuts else None
                server = socket.create_connection(("127.0.0.1", self._upstream))
                threading.Thread(target=_pass_on, args=(client, server, None), daemon=True).start()
                threading.Thread(target=_pass_on, args=(server, client, left), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()


def _pass_on(source: socket.socket, target: socket.socket, left: int | None) -> None:
    with suppress(OSError):  # cut from the other side
        while (left is None or left > 0) and (data := source.recv(4096 if left is None else min(4096, left))):
            target.sendall(data)
            left = None if left is None else left - len(data)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    source.close()
