"""What the directory's routes take and give, as JSON."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

from archive_service.api.views import Asked, Words
from archive_service.model.custodians import MOST_ADDRESSES, MOST_GROUPS, AddressKind, address_key

DayText = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
_From = Field(default=None, validation_alias="from", serialization_alias="from")


class AddressAsked(Asked):
    """An address and its days, both included; a missing one is open."""

    address: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    kind: Annotated[AddressKind, Field(strict=False)] = AddressKind.ALIAS
    begins: DayText | None = _From
    until: DayText | None = None


class MembershipAsked(Asked):
    """A group by its id, and the days in it."""

    group: Words
    begins: DayText | None = _From
    until: DayText | None = None


class CustodianAsked(Asked):
    """A person's whole record: what is not there is empty from then on. ``version``: of the record that was read, where
    ``If-Match`` does not say it."""

    name: Words
    given: Words | None = None
    family: Words | None = None
    addresses: Annotated[list[AddressAsked], Field(default_factory=list, max_length=MOST_ADDRESSES)]
    groups: Annotated[list[MembershipAsked], Field(default_factory=list, max_length=MOST_GROUPS)]
    entity: Words | None = None
    department: Words | None = None
    joined: DayText | None = None
    left: DayText | None = None
    external: Annotated[dict[str, Words], Field(default_factory=dict, max_length=20)]
    version: Annotated[int, Field(ge=0, lt=2**53)] | None = None

    def record(self) -> dict[str, Any]:
        """The fields of ``model.custodians.Custodian`` without its id."""
        fields = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"version"})
        for held in fields["addresses"]:
            held["address"] = address_key(held["address"])
        return fields


class CustodianList(BaseModel):
    """In the order in which they came in. A page may be short, or empty, while ``next`` is not null."""

    custodians: list[dict[str, Any]]
    next: str | None
