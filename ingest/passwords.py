"""Passwords of sources: hashed with argon2id (RFC 9106), and checked off the event loop.

One thread and a bounded queue do all checks of a process, so that a flood of guesses does not stop the intake.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from archive_service.model.errors import ArchiveError, Invalid, Overloaded

SHORTEST = 12
LONGEST = 256
_WAITING = 16  # checks that wait or run, of all peers
_WAITING_PEER = 2  # of one peer: a flood from one address leaves room for the others

# 19 MiB, two passes, one lane: about 40 ms. A stronger setting would only let guesses cost this machine more: the
# shortest password allowed is not found by trying, and the hash lies sealed in the acts.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@cache
def _nobody() -> str:
    """A hash that nothing fits."""
    return _HASHER.hash(secrets.token_hex(16))


def hashed(password: str) -> str:
    """The argon2id hash in PHC form. Raises Invalid for a password that is too short, too long, or holds a NUL."""
    if not SHORTEST <= len(password) <= LONGEST or "\0" in password:
        raise Invalid(
            f"a password has {SHORTEST} to {LONGEST} characters, none of them NUL", code="source.password"
        )
    return _HASHER.hash(password)


def _verify(phc: str | None, password: str) -> bool:
    """Whether it fits; with no hash as much work, and never."""
    try:
        return _HASHER.verify(phc or _nobody(), password) and phc is not None
    except InvalidHashError as error:
        raise ArchiveError("a source's password hash cannot be read", code="source.password") from error
    except VerificationError:
        return False


class PasswordChecks:
    """The checks of one process. Used from one event loop.

    A password that fitted is remembered under a keyed digest of this process, so that a sender who logs in for every
    mail pays once, and hears no 454 while somebody floods.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="password")
        self._waiting: Counter[str | None] = Counter()
        self._key = secrets.token_bytes(32)
        self._fitted: dict[str, bytes] = {}
        _nobody()  # made now, so that the first unknown sender costs what each later one costs

    async def fits(self, phc: str | None, password: str, peer: str | None) -> bool:
        """Whether the password is the one of the hash; without a hash no, after the same work. Raises Overloaded when
        too many wait already, ArchiveError when the hash cannot be read: then nobody knows."""
        digest = self._digest(phc, password)
        if phc is not None and hmac.compare_digest(self._fitted.get(phc, b""), digest):
            return True
        if self._waiting.total() >= _WAITING or self._waiting[peer] >= _WAITING_PEER:
            raise Overloaded("too many passwords wait to be checked", code="smtp.passwords")
        self._waiting[peer] += 1
        try:
            # Cancelled or not, the thread works on: only its end makes room again.
            check = self._pool.submit(_verify, phc, password)
        except RuntimeError as error:
            self._release(peer)
            raise Overloaded("no password is checked any more", code="smtp.passwords") from error
        loop = asyncio.get_running_loop()
        check.add_done_callback(lambda _: _call_soon(loop, self._release, peer))
        fits = await asyncio.wrap_future(check)
        if fits and phc is not None:
            if len(self._fitted) >= 10_000:
                self._fitted.clear()
            self._fitted[phc] = digest
        return fits

    def close(self) -> None:
        """Let a check under way end; those that wait are dropped."""
        self._pool.shutdown(cancel_futures=True)

    def _digest(self, phc: str | None, password: str) -> bytes:
        said = (phc or "").encode() + b"\0" + password.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(said, key=self._key).digest()

    def _release(self, peer: str | None) -> None:
        self._waiting[peer] -= 1
        if self._waiting[peer] <= 0:
            del self._waiting[peer]


def _call_soon(loop: asyncio.AbstractEventLoop, function: "object", peer: str | None) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, peer)  # type: ignore[arg-type]
