"""Advisory leases between processes on one machine: a lock file each, let go by the kernel when its holder dies."""

import fcntl
import os
import threading
from pathlib import Path


class FileLeases:
    """Leases held by this process for its life. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, name: str) -> bool:
        """Whether the lease is this process's now; True again when it already was."""
        with self._lock:
            if name in self._held:
                return True
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / (name.replace("/", ".") + ".lease")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._held[name] = descriptor
            return True

    def close(self) -> None:
        """Let all leases go."""
        with self._lock:
            for descriptor in self._held.values():
                os.close(descriptor)
            self._held.clear()
