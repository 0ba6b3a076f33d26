"""Leases among all who write to an archive, held by machines rather than by processes: what died here is taken up again
at once by its successor here, and by another machine after the takeover time."""

import secrets
from pathlib import Path

from archive_service.model.errors import StoreDenied
from archive_service.places.leases import FileLeases, KeyPlaceLeases

_NAME = "machine"


def machine_name(run: Path) -> str:
    """The name of whoever works in this folder: 16 random hex digits, kept in it. A folder that was copied with
    its machine makes two of one name: then claims decide, as always. Raises StoreDenied."""
    path = run / _NAME
    try:
        run.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = run / f".{_NAME}-{secrets.token_hex(8)}"
        unfinished.write_text(secrets.token_hex(8), "ascii")
        try:
            path.hardlink_to(unfinished)  # whole or not at all, and the first one stays
        except FileExistsError:
            pass
        finally:
            unfinished.unlink()
        return path.read_text("ascii")
    except OSError as error:
        raise StoreDenied(f"the work folder cannot be used: {error.strerror}") from error


class MachineLeases:
    """Implements Leases: among the processes of this machine by ``here``, which the kernel lets go when a process dies;
    among machines by ``shared``, whose writer is the machine. Thread-safe."""

    def __init__(self, here: FileLeases, shared: KeyPlaceLeases) -> None:
        self._here = here
        self._shared = shared

    def take(self, name: str) -> bool:
        """See Leases. A lease that another machine holds is kept from no process here: only one of them asks."""
        return self._here.take(name) and self._shared.take(name)

    def release(self, name: str) -> None:
        """See Leases: the shared one first, as in ``close``."""
        self._shared.release(name)
        self._here.release(name)

    def close(self) -> None:
        """Let the shared ones go first: until then no process here may take them."""
        self._shared.close()
        self._here.close()
