"""What the acts say of service accounts: programs that act in a role, within some of its rights, until a day.

account.make    {account, name, role, only: [right], ends, secret: hex(SHA-256 of the secret), by, at, approval?}
account.revoke  {account, by, reason, at}
"""

from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Account:
    """``secret``: the SHA-256 of 256 random bits, in hex. Nobody guesses those, so a slow hash would add nothing but
    the cost of every request. ``approval``: of one that reads mail, which two people made. Times are RFC 3339."""

    id: str
    name: str
    role: str
    only: tuple[str, ...]
    ends: str
    secret: str = field(repr=False)
    by: str
    at: str
    revoked: str | None = None
    approval: str | None = None

    def open(self, now: str) -> bool:
        """Whether it may act at ``now``."""
        return self.revoked is None and now < self.ends

    def state(self, now: str) -> str:
        """``open``, ``ended`` or ``revoked`` at ``now``."""
        return "revoked" if self.revoked is not None else "open" if self.open(now) else "ended"


@dataclass
class ServiceAccounts:
    """One owner's service accounts as state; see ``Erasures`` for who writes and reads it."""

    known: dict[str, Account] = field(default_factory=dict)

    def all(self) -> list[Account]:
        """Every account ever made, in the order of the acts."""
        return list(self.known.values())

    def named(self, name: str) -> bool:
        """Whether an account of this name was ever made: a name never stands for two, also not one after the other."""
        return any(account.name == name for account in self.known.values())

    def take(self, act: dict[str, Any], position: int) -> bool:
        """Apply an act, if it is one of these. Raises KeyError, TypeError or ValueError for a malformed one."""
        if act["act"] == "account.make":
            made = Account(
                id=str(act["account"]),
                name=str(act["name"]),
                role=str(act["role"]),
                only=tuple(map(str, act["only"])),
                ends=str(act["ends"]),
                secret=str(act["secret"]),
                by=str(act["by"]),
                at=str(act["at"]),
                approval=None if act.get("approval") is None else str(act["approval"]),
            )
            self.known.setdefault(made.id, made)
        elif act["act"] == "account.revoke":
            known = self.known[str(act["account"])]
            if known.revoked is None:
                self.known[known.id] = replace(known, revoked=str(act["at"]))
        else:
            return False
        return True
