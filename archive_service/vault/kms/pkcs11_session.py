"""One session a process and token, one call at a time, opened again after a failure or a fork.

The library is initialised without locking of its own (``C_Initialize(NULL)`` by python-pkcs11: PKCS#11 v2.40 section
5.4), so all calls of a process into any token go through one lock. Login belongs to the process, not to a session: who
logs out takes it from all, so the instances of a process share one session.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pkcs11

from archive_service.model.errors import StoreDenied, StoreError
from archive_service.vault.kms.base import AWAY, DENIED

_Answer = TypeVar("_Answer")
_REFUSALS = (
    pkcs11.PinIncorrect,
    pkcs11.PinInvalid,
    pkcs11.PinLenRange,
    pkcs11.PinExpired,
    pkcs11.PinLocked,
    pkcs11.UserPinNotInitialized,
    pkcs11.TokenWriteProtected,
)


@dataclass(frozen=True)
class TokenAddress:
    """Where a token is: the vendor's shared library, the token's label, the user's PIN (never shown)."""

    module: str
    token: str
    pin: str = field(repr=False)


_calls = threading.RLock()
_sessions: dict[tuple[str, str], Any] = {}
_process = os.getpid()


class Token:
    """Runs work in the token's session."""

    def __init__(self, address: TokenAddress) -> None:
        self._address = address

    def run(self, work: Callable[[Any], _Answer]) -> _Answer:
        """What ``work`` makes of an open session; tried a second time in a new session when the first one failed.

        Raises StoreError (``kms.away``) when that fails too, StoreDenied when the token refuses us (a PIN is tried once
        only: tokens lock themselves)."""
        with _calls:
            for last in (False, True):
                try:
                    return work(self._session())
                except _REFUSALS as error:
                    self.close()
                    raise StoreDenied(f"the token refuses us: {type(error).__name__}", code=DENIED) from error
                except pkcs11.PKCS11Error as error:
                    self.close()
                    if last:
                        raise StoreError(f"the token fails: {type(error).__name__}", code=AWAY) from error
        raise AssertionError("the second try returns or raises")

    def _session(self) -> Any:
        global _process  # noqa: PLW0603  # what a fork inherits is another process's session
        if _process != os.getpid():
            _process = os.getpid()
            self.close()
        where = (self._address.module, self._address.token)
        if where not in _sessions:
            library = pkcs11.lib(self._address.module)
            token = library.get_token(token_label=self._address.token)
            _sessions[where] = token.open(rw=True, user_pin=self._address.pin)
        return _sessions[where]

    def close(self) -> None:
        """End every session of this process with the module: the library starts afresh at the next call, and sees
        tokens that were put in since."""
        module = self._address.module
        with _calls:
            for where in [where for where in _sessions if where[0] == module]:
                del _sessions[where]
            try:
                pkcs11.lib(module).finalize()
            except pkcs11.PKCS11Error as error:
                raise StoreError(f"the token's library fails: {type(error).__name__}", code=AWAY) from error
