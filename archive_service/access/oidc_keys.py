"""The keys of an identity provider (RFC 7517): which of them may check a signature, and each with which algorithm.

A key is tied to its algorithms here, before any token is looked at: a token chooses among pairs that exist and never
makes one. Private and symmetric keys, short ones, and keys for encryption are passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jose import jwk
from jose.backends.base import Key
from jose.exceptions import JOSEError

MOST = 100
"""Keys of one set that are looked at."""
_SHORTEST_RSA = 2048  # bits: RFC 7518 sections 3.3 and 3.5

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}  # RFC 7518 section 3.4
_DIGESTS: Mapping[str, hashes.HashAlgorithm] = {
    "PS256": hashes.SHA256(),
    "PS384": hashes.SHA384(),
    "PS512": hashes.SHA512(),
}


class PssKey(Key):
    """RSASSA-PSS (RFC 7518 section 3.5), which python-jose does not know: checks signatures, and nothing else."""

    def __init__(self, key: RSAPublicKey, algorithm: str) -> None:
        self._key = key
        self._digest = _DIGESTS[algorithm]

    def verify(self, msg: bytes, sig: bytes) -> bool:
        """Whether ``sig`` is over ``msg``; the salt is as long as the digest."""
        scheme = padding.PSS(padding.MGF1(self._digest), self._digest.digest_size)
        try:
            self._key.verify(sig, msg, scheme, self._digest)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Keys:
    """The usable keys of a set, by key id and algorithm. A key without an id stands under ""."""

    _by: Mapping[tuple[str, str], tuple[Key, ...]]

    def named(self, kid: str) -> bool:
        """Whether the set has a key of that id, for whatever algorithm."""
        return any(known == kid for known, _ in self._by)

    def of(self, kid: str | None, algorithm: str) -> tuple[Key, ...]:
        """Those that may have made a signature. Without an id, the only one for the algorithm; none where several could
        have."""
        if kid is not None:
            return self._by.get((kid, algorithm), ())
        fitting = [key for (_, known), keys in self._by.items() if known == algorithm for key in keys]
        return tuple(fitting) if len(fitting) == 1 else ()

    def __len__(self) -> int:
        return len(self._by)


def read_keys(document: Mapping[str, Any], algorithms: Sequence[str]) -> Keys:
    """A JWK set, for these algorithms alone. Raises ValueError for what is no set."""
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise ValueError("no set of keys")  # noqa: TRY004  a fault of what was read
    found: dict[tuple[str, str], tuple[Key, ...]] = {}
    for each in listed[:MOST]:
        if isinstance(each, dict):
            kid = each.get("kid", "")
            for algorithm in algorithms:
                key = _key(each, algorithm) if isinstance(kid, str) else None
                if key is not None:
                    found[kid, algorithm] = (*found.get((kid, algorithm), ()), key)
    return Keys(found)


def _key(given: Mapping[str, Any], algorithm: str) -> Key | None:
    """The key for that algorithm, or None where it is not for it."""
    if not _checks_signatures(given) or given.get("alg", algorithm) != algorithm:
        return None
    public = {name: given[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in given}
    try:
        if given.get("kty") == "EC":
            fits = _CURVES.get(str(given.get("crv"))) == algorithm
            return jwk.construct(public, algorithm) if fits else None
        if given.get("kty") == "RSA" and algorithm in _RSA:
            return _rsa(public, algorithm)
    except (JOSEError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None  # a key that nobody can read checks nothing
    return None


def _checks_signatures(given: Mapping[str, Any]) -> bool:
    """RFC 7517 sections 4.2 and 4.3. A set that hands a private key out is passed over for that key: anybody has it."""
    operations = given.get("key_ops", ["verify"])
    return (
        given.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        and "d" not in given
    )


def _rsa(public: dict[str, Any], algorithm: str) -> Key | None:
    made = jwk.construct(public, f"RS{algorithm[2:]}")
    key = load_pem_public_key(made.to_pem())
    if not isinstance(key, RSAPublicKey) or key.key_size < _SHORTEST_RSA:
        return None
    return PssKey(key, algorithm) if algorithm.startswith("PS") else made
