"""Key versions of one transit key in HashiCorp Vault or OpenBao (HTTP API, ``/v1/MOUNT/...``).

The key is of type ``aes256-gcm96``, not exportable; the context goes as ``associated_data`` (Vault 1.9 or newer, every
OpenBao). Wrapped bytes are the service's answer as ASCII, ``vault:vN:BASE64``; the version's name is its ``vN``.

The token's policy needs, on that key: ``encrypt``, ``decrypt`` (update), ``keys/NAME`` (read; create and update to make
it), ``keys/NAME/rotate``, ``keys/NAME/config``, ``keys/NAME/trim`` (update); README.md here has it
to copy.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import hvac
import requests  # what hvac raises when the service does not answer
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized, VaultError

from archive_service.model.errors import Refused, StoreDenied, StoreError, Tampered
from archive_service.vault.kms.base import AWAY, DENIED, absent, nothing_stands, require_destroyable

_VERSION = re.compile(r"v([1-9][0-9]{0,5})")
_WRAPPED = re.compile(rb"vault:(v[1-9][0-9]{0,5}):[A-Za-z0-9+/]+={0,2}")
_KEY_TYPE = "aes256-gcm96"
_TIMEOUT = 15  # seconds
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class VaultAddress:
    """Where the service is, and who we are to it. ``ca_bundle``: a file of PEM certificates; None: the system's."""

    url: str
    token: str = field(repr=False)
    mount: str = "transit"
    key: str = "archive-service"
    namespace: str | None = None
    ca_bundle: str | None = None


@dataclass(frozen=True)
class _Key:
    """What the service says of the key: versions ``first`` to ``last`` exist, those before ``opens`` are barred."""

    first: int
    opens: int
    encrypts: int
    last: int

    @property
    def versions(self) -> list[int]:
        return list(range(self.first, self.last + 1))


class VaultKms:
    """Implements Kms. ``destroy`` can only destroy the oldest version: Vault trims a key from its lower end."""

    provider = "vault"

    def __init__(
        self, address: VaultAddress, *, create: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``create``: make the key when there is none. ``clock``: seconds, for the token's renewal."""
        self._address = address
        self._create = create
        self._clock = clock
        self._client: Any = hvac.Client(
            url=address.url,
            token=address.token,
            verify=address.ca_bundle or True,
            namespace=address.namespace,
            timeout=_TIMEOUT,
            proxies={
                "http": "",
                "https": "",
            },  # a key service is reached directly, whatever the environment says
        )
        self._renew_at = 0.0

    def close(self) -> None:
        """Let connections go."""
        self._client.adapter.close()

    @property
    def _transit(self) -> Any:
        return self._client.secrets.transit

    # --- calls --------------------------------------------------------------------------------------

    def _call(self, work: Callable[[], _Answer]) -> _Answer:
        """One request's answer; InvalidRequest and InvalidPath are the caller's to understand. Raises StoreError."""
        try:
            if self._clock() >= self._renew_at:
                self._renew()
            return work()
        except (InvalidRequest, InvalidPath):
            raise
        except (Forbidden, Unauthorized) as error:
            raise StoreDenied("the key service refuses our token", code=DENIED) from error
        except VaultError as error:
            raise StoreError(f"the key service fails: {type(error).__name__}", code=AWAY) from error
        except (requests.exceptions.RequestException, OSError) as error:
            raise StoreError(f"the key service does not answer: {type(error).__name__}", code=AWAY) from error

    def _renew(self) -> None:
        """Renew a token that can be renewed, at half its life; one that ends anyway is told by the service in time."""
        found = self._client.auth.token.lookup_self()["data"]
        seconds = float(found.get("ttl") or 0)
        if seconds and found.get("renewable"):
            seconds = float(self._client.auth.token.renew_self()["auth"]["lease_duration"])
        self._renew_at = self._clock() + (seconds / 2 if seconds else float("inf"))

    def _read(self) -> _Key | None:
        """The key as it stands now; None when the service has no such key (or no such mount: it says the same)."""
        where = {"name": self._address.key, "mount_point": self._address.mount}
        try:
            found = self._call(lambda: self._transit.read_key(**where))["data"]
        except InvalidPath:
            return None
        except InvalidRequest as error:
            raise StoreError("the key service does not know the transit engine", code=AWAY) from error
        if found.get("type") != _KEY_TYPE or found.get("derived") or found.get("exportable"):
            raise StoreError(
                f"the transit key is not a plain {_KEY_TYPE} that cannot be exported", code="kms.damaged"
            )
        first = max(1, int(found.get("min_available_version") or 0))
        return _Key(
            first,
            int(found["min_decryption_version"]),
            int(found["min_encryption_version"]),
            int(found["latest_version"]),
        )

    def _standing(self) -> _Key:
        found = self._read()
        if found is None:
            raise nothing_stands()
        return found

    # --- Kms ----------------------------------------------------------------------------------------

    def wrap(self, context: bytes, plaintext: bytes) -> tuple[str, bytes]:
        """See Kms."""
        if self._read() is None:
            self._make()
        answer = self._write(
            lambda: self._transit.encrypt_data(
                name=self._address.key,
                plaintext=_b64(plaintext),
                associated_data=_b64(context),
                mount_point=self._address.mount,
            )
        )
        wrapped = str(answer["data"]["ciphertext"]).encode("ascii", "replace")
        match = _WRAPPED.fullmatch(wrapped)
        if not match:
            raise StoreError("the key service answers what is no transit ciphertext", code="kms.damaged")
        return match[1].decode("ascii"), wrapped

    def _make(self) -> None:
        if not self._create:
            raise nothing_stands()
        # to create a key that exists changes nothing, so two at once end with the same one
        self._write(
            lambda: self._transit.create_key(
                name=self._address.key, key_type=_KEY_TYPE, mount_point=self._address.mount
            )
        )

    def _write(self, work: Callable[[], Any]) -> Any:
        try:
            return self._call(work)
        except (InvalidRequest, InvalidPath) as error:
            raise StoreError("the key service does not take what we ask", code="kms.refused") from error

    def unwrap(self, version: str, context: bytes, wrapped: bytes) -> bytes:
        """See Kms."""
        match = _WRAPPED.fullmatch(wrapped)
        if not match or match[1] != version.encode("ascii", "replace"):
            self._require_standing(version)
            raise Tampered("a wrapped key is not of the key version that its record names")
        try:
            answer = self._call(
                lambda: self._transit.decrypt_data(
                    name=self._address.key,
                    ciphertext=wrapped.decode("ascii"),
                    associated_data=_b64(context),
                    mount_point=self._address.mount,
                )
            )
            return base64.b64decode(answer["data"]["plaintext"], validate=True)
        except (InvalidRequest, InvalidPath) as error:
            # the service says 400 alike for a wrong tag, a version that is trimmed, and a key that is not there
            self._require_standing(version)
            raise Tampered("a wrapped key fails authentication") from error
        except (binascii.Error, KeyError, TypeError) as error:
            raise StoreError("the key service answers without a plaintext", code=AWAY) from error

    def _require_standing(self, version: str) -> None:
        """Raises what ``unwrap`` owes for a version that cannot open anything now."""
        number = _number(version)
        if number is None:
            raise Tampered("a record names a key version that could not be")
        found = self._standing()
        if number not in found.versions:
            raise absent((number,), [(each,) for each in found.versions], version)
        if number < found.opens:
            # not trimmed: whoever raised the bound can lower it again
            raise StoreError(f"key version {version} is barred in the key service", code="kms.damaged")

    def rotate(self) -> str:
        """See Kms. Two at once make two versions; each may then name the newer one."""
        if self._read() is None:
            self._make()
        else:
            self._write(
                lambda: self._transit.rotate_key(name=self._address.key, mount_point=self._address.mount)
            )
        return f"v{self._standing().last}"

    def versions(self) -> list[str]:
        """See Kms."""
        return [f"v{number}" for number in self._standing().versions]

    def destroy(self, version: str) -> None:
        """See Kms. Raises Refused (``kms.order``) unless it is the oldest. Backups of the service's storage are beyond
        this program: they must go too."""
        found = self._standing()
        require_destroyable(version, [f"v{number}" for number in found.versions])
        number = _number(version)
        if number is None or number not in found.versions:
            return
        if number != found.first:
            raise Refused(
                f"the key service destroys oldest first: v{found.first} before {version}", code="kms.order"
            )
        least = number + 1
        # two calls: the service wants the bounds in this order, and hvac refuses them together when they are equal
        self._configure(min_encryption_version=max(least, found.encrypts))
        self._configure(min_decryption_version=max(least, found.opens))
        self._write(
            lambda: self._transit.trim_key(
                name=self._address.key, min_version=least, mount_point=self._address.mount
            )
        )
        if number in self._standing().versions:
            raise StoreError("the key service did not destroy the key version", code="kms.damaged")

    def _configure(self, **bound: int) -> None:
        self._write(
            lambda: self._transit.update_key_configuration(
                name=self._address.key, mount_point=self._address.mount, **bound
            )
        )


def _number(version: str) -> int | None:
    match = _VERSION.fullmatch(version)
    return int(match[1]) if match else None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
