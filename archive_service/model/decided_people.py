"""The people of a grant or matter as two people decided it: who was meant by each name, and by which addresses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archive_service.model.custodians import HeldAddress


@dataclass(frozen=True)
class DecidedPeople:
    """``addresses``: of each person, by id, those he held when it was asked for; ``named``: whom each ``custodian:`` of
    a query meant then, by what stands behind it."""

    addresses: Mapping[str, tuple[HeldAddress, ...]] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """JSON-ready: what an act holds."""
        addresses = {who: [held.plain() for held in each] for who, each in self.addresses.items()}
        return {"addresses": addresses, "named": dict(self.named)}

    @classmethod
    def read(cls, plain: Any) -> "DecidedPeople":
        """Of an act. Raises KeyError, TypeError, AttributeError or ValueError for a malformed one."""
        addresses = {
            str(who): tuple(HeldAddress.model_validate(held) for held in each)
            for who, each in plain["addresses"].items()
        }
        return cls(addresses, {str(name): str(who) for name, who in plain["named"].items()})

    def together(self, later: "DecidedPeople | None") -> "DecidedPeople":
        """What either of two decisions holds; of a name, what the later one meant."""
        if later is None:
            return self
        people = {*self.addresses, *later.addresses}
        addresses = {
            who: (*self.addresses.get(who, ()), *later.addresses.get(who, ())) for who in sorted(people)
        }
        return DecidedPeople(addresses, {**self.named, **later.named})
