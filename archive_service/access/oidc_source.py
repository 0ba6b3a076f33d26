"""What a provider says of itself (OpenID Connect Discovery 1.0) and its keys: asked, kept, and asked again.

Kept for as long as the provider's own Cache-Control says, within bounds; renewed aside when three quarters of that are
over, so that nobody waits. While the provider is away what is known is used on, for a day at most; it is asked again
after pauses that grow. A key id that nobody has seen makes us ask once, and again half a minute later at the earliest,
however many tokens name one: rotated keys are found, and a flood of forged ids costs the provider nothing.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from jose.backends.base import Key

from archive_service.access import compact
from archive_service.access.oidc_keys import Keys, read_keys
from archive_service.access.oidc_providers import OidcProvider, is_allowed
from archive_service.model.backoff import Backoff
from archive_service.model.errors import ArchiveError, Invalid, Overloaded, StoreError

_log = logging.getLogger(__name__)

SHORTEST, LONGEST = 60.0, 6 * 3600.0  # seconds that an answer may be kept without asking again
KEPT_AWAY = 24 * 3600.0  # seconds that known keys are believed while nobody can be asked
UNKNOWN_KID = 30.0  # seconds between two questions for a key id that is not known
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
_AHEAD = 0.75
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "end_session_endpoint")


@dataclass(frozen=True)
class Answer:
    """What a GET or POST brought. ``max_age``: seconds, where the answer says how long it may be kept."""

    status: int
    body: bytes
    max_age: float | None = None


class Web(Protocol):
    """Asks other machines: bounded in time and size, no redirect followed, no metadata address asked. Thread-safe."""

    def get(self, url: str) -> Answer:
        """Raises StoreError (``identity.unreachable``, ``identity.timeout``, ``identity.too_large``), Refused
        (``identity.address``)."""
        ...

    def post(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """A form. Raises as ``get``."""
        ...


@dataclass(frozen=True)
class Known:
    """Discovery document and keys, and when they were had. Seconds of the monotonic clock."""

    document: Mapping[str, Any]
    keys: Keys
    at: float
    life: float

    def endpoint(self, name: str) -> str:
        """Raises Invalid (``identity.no_endpoint``) where the provider names none."""
        url = self.document.get(name)
        if not isinstance(url, str):
            raise Invalid(f"the provider names no {name}", code="identity.no_endpoint")
        return url


def _aside(work: Callable[[], object]) -> None:
    threading.Thread(target=work, name="oidc-keys", daemon=True).start()


@dataclass
class ProviderSource:
    """One provider's document and keys. Thread-safe. ``aside`` does work beside the caller; ``clock`` is monotonic."""

    provider: OidcProvider
    web: Web
    clock: Callable[[], float] = time.monotonic
    aside: Callable[[Callable[[], object]], None] = _aside
    backoff: Backoff = field(default_factory=lambda: Backoff(tries=2, first_pause=0.2, total=3.0))
    _known: Known | None = None
    _failures: int = 0
    _not_before: float = float("-inf")
    _asked_for_kid: float = float("-inf")
    _renewing: bool = False
    _asking: threading.Lock = field(default_factory=threading.Lock)

    def known(self) -> Known:
        """What is known now; asks first when nothing is, or when it is too old. Raises Overloaded
        (``identity.provider_away``)."""
        known, now = self._known, self.clock()
        if known is None or now >= known.at + known.life:
            self._ask(known)
        elif now >= known.at + _AHEAD * known.life:
            self._renew(known)
        known = self._known
        if known is None or self.clock() >= known.at + KEPT_AWAY:
            raise Overloaded("the identity provider cannot be asked", code="identity.provider_away")
        return known

    def keys(self, kid: str | None, algorithm: str) -> tuple[Key, ...]:
        """The keys that may have made a signature; none when there are none. Raises Overloaded."""
        known = self.known()
        if kid is not None and not known.keys.named(kid):
            self._ask_for_kid(known)
            known = self._known or known
        return known.keys.of(kid, algorithm)

    def _ask_for_kid(self, seen: Known) -> None:
        now = self.clock()
        if now < self._asked_for_kid + UNKNOWN_KID:
            return
        self._asked_for_kid = now
        self._ask(seen)

    def _renew(self, seen: Known) -> None:
        if self._renewing or self.clock() < self._not_before:
            return
        self._renewing = True

        def work() -> None:
            try:
                self._ask(seen)
            finally:
                self._renewing = False

        self.aside(work)

    def _ask(self, seen: Known | None) -> None:
        """Ask, unless another has since ``seen``, or the pause after a failure is not over."""
        with self._asking:
            now = self.clock()
            if self._known is not seen or now < self._not_before:
                return
            try:
                self._known = self.backoff.repeat(self._fetched, StoreError)
            except ArchiveError as error:
                self._failures += 1
                pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures, 10))
                self._not_before = now + pause * (1 + random.random()) / 2  # noqa: S311  spreads load, hides nothing
                _log.warning("identity provider %s cannot be asked: %s", self.provider.name, error.code)
                return
            self._failures, self._not_before = 0, float("-inf")

    def _fetched(self) -> Known:
        document, _ = self._document(self.provider.discovery)
        if document.get("issuer") != self.provider.issuer:  # OpenID Connect Discovery 1.0 section 4.3
            raise Invalid("the discovery document is another issuer's", code="identity.issuer")
        for name in ("jwks_uri", *_ENDPOINTS):
            url = document.get(name)
            if url is not None and not self._may_ask(url):
                raise Invalid(f"the provider's {name} may not be asked", code="identity.endpoint")
        if "jwks_uri" not in document:
            raise Invalid("the provider names no keys", code="identity.no_endpoint")
        listed, max_age = self._document(str(document["jwks_uri"]))
        try:
            keys = read_keys(listed, self.provider.algorithms)
        except ValueError as error:
            raise Invalid("the provider's keys are no set of keys", code="identity.keys") from error
        if not len(keys):
            raise Invalid("the provider has no key for the algorithms set", code="identity.keys")
        life = self.provider.renew_seconds if max_age is None else max_age
        return Known(document, keys, self.clock(), min(LONGEST, max(SHORTEST, life)))

    def _document(self, url: str) -> tuple[dict[str, Any], float | None]:
        answer = self.web.get(url)
        if answer.status != 200:
            raise StoreError(f"the identity provider answered {answer.status}", code="identity.refused")
        try:
            return compact.json_object(answer.body), answer.max_age
        except ValueError as error:
            raise Invalid("the identity provider did not answer JSON", code="identity.malformed") from error

    def _may_ask(self, url: object) -> bool:
        return isinstance(url, str) and is_allowed(url, loopback=self.provider.loopback)
