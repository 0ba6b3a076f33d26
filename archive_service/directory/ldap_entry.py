"""An entry of an LDAP directory, and where entries come from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class LdapEntry:
    """``attributes``: by names in lower case, each value as bytes. ``cut``: attributes of which the server gave only
    the first values."""

    dn: str
    attributes: dict[str, list[bytes]]
    cut: frozenset[str] = frozenset()


class Entries(Protocol):
    """A directory to be read. ``referrals`` counts the places that it pointed to and nobody went."""

    referrals: int

    def entries(self, base: str, filter: str, attributes: list[str]) -> Iterator[LdapEntry]:
        """Every entry below ``base`` that the filter fits. Raises Invalid (``ldap.filter``), StoreError
        (``ldap.failed``)."""
        ...
