"""People from LDAP: ``inetOrgPerson`` (RFC 2798) and Active Directory's ``user``, with the groups that they are in.

An account that is disabled or has expired means that the person has left. The directory knows the present only, so its
addresses have no days of their own (see ``merging``).
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from archive_service.directory.incoming import GivenAddress, GivenGroup, Incoming, Read, Trouble
from archive_service.directory.ldap_entry import Entries, LdapEntry
from archive_service.model.custodians import AddressKind, address_key, is_smtp

ORIGIN = "ldap"
PEOPLE = (
    "(&(|(objectClass=inetOrgPerson)(objectClass=user))(|(mail=*)(proxyAddresses=*)(mailLocalAddress=*)))"
)
GROUPS = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=group))"
_PERSON = [
    *(
        "objectClass",
        "entryUUID",
        "objectGUID",
        "cn",
        "displayName",
        "givenName",
        "sn",
        "mail",
        "proxyAddresses",
    ),
    *("mailLocalAddress", "mailAlternateAddress", "memberOf", "employeeNumber", "employeeID"),
    *(
        "department",
        "departmentNumber",
        "company",
        "o",
        "whenCreated",
        "accountExpires",
        "userAccountControl",
    ),
]
_GROUP = ["cn", "displayName", "mail", "member", "uniqueMember", "entryUUID", "objectGUID"]
_DISABLED = 0x2  # userAccountControl: ADS_UF_ACCOUNTDISABLE
_NEVER = (0, 2**63 - 1)  # accountExpires of accounts that do not
_1601 = datetime(1601, 1, 1, tzinfo=UTC)


def read_ldap(reader: Entries, base: str, *, filter: str = PEOPLE, today: str, origin: str = ORIGIN) -> Read:
    """The people below ``base`` whom the filter fits. Raises as ``Entries.entries``."""
    groups = _Groups(reader.entries(base, GROUPS, _GROUP))
    found = Read()
    for place, entry in enumerate(reader.entries(base, filter, _PERSON), 1):
        if "computer" in map(str.casefold, _texts(entry, "objectclass")):
            continue  # in the filter it would be undefined, and so hide everybody, where no such class is known
        found.people.append(_person(place, entry, groups, today, origin))
        if entry.cut:
            detail = f"the server gave only some values of {', '.join(sorted(entry.cut))}"
            found.troubles.append(Trouble(place, "ldap.cut", detail))
    if reader.referrals:
        found.troubles.append(Trouble(0, "ldap.referral", f"{reader.referrals} referrals were not followed"))
    return found


class _Groups:
    """Groups by their names there, and who is in them by the groups' own word: not every server tells people's."""

    def __init__(self, entries: Iterable[LdapEntry]) -> None:
        self._known: dict[str, GivenGroup] = {}
        self._of: dict[str, list[str]] = {}
        for entry in entries:
            key = _dn(entry.dn)
            address = address_key(_first(entry, "mail"))
            name = _first(entry, "displayname", "cn") or entry.dn
            self._known[key] = GivenGroup(_id(entry), name, address if is_smtp(address) else None)
            for member in _texts(entry, "member", "uniquemember"):
                self._of.setdefault(_dn(member), []).append(key)

    def of(self, entry: LdapEntry) -> tuple[GivenGroup, ...] | None:
        """None where the server did not give them all."""
        if "memberof" in entry.cut:
            return None
        keys = [*map(_dn, _texts(entry, "memberof")), *self._of.get(_dn(entry.dn), ())]
        return tuple(
            self._known.get(key) or GivenGroup(key, key.partition(",")[0].partition("=")[2] or key)
            for key in dict.fromkeys(keys)
        )


def _person(place: int, entry: LdapEntry, groups: _Groups, today: str, origin: str) -> Incoming:
    number = _first(entry, "employeenumber", "employeeid")
    expires = _expires(_first(entry, "accountexpires"))
    disabled = _number(_first(entry, "useraccountcontrol")) & _DISABLED != 0
    expired = expires is not None and expires < today
    return Incoming(
        place=place,
        external={origin: _id(entry)} | ({"employee": number} if number else {}),
        name=_first(entry, "displayname", "cn"),
        given=_first(entry, "givenname"),
        family=_first(entry, "sn"),
        addresses=None if "proxyaddresses" in entry.cut else _addresses(entry),
        groups=groups.of(entry),
        entity=_first(entry, "company", "o"),
        department=_first(entry, "department", "departmentnumber"),
        joined=_created(_first(entry, "whencreated")),
        left=None if disabled and not expired else expires or "",
        gone=disabled and not expired,
    )


def _addresses(entry: LdapEntry) -> tuple[GivenAddress, ...]:
    """``mail`` first; of ``proxyAddresses`` the one with ``SMTP:`` in capitals is primary. What is no mail address is
    kept as such."""
    found: dict[str, AddressKind] = {}
    for kind, text in _named_addresses(entry):
        key = address_key(text)
        if not key:
            continue
        sort = kind if is_smtp(key) else AddressKind.OTHER
        if key not in found or sort is AddressKind.PRIMARY:
            found[key] = sort
    return tuple(GivenAddress(key, kind) for key, kind in found.items())


def _named_addresses(entry: LdapEntry) -> Iterable[tuple[AddressKind, str]]:
    proxies = [each.partition(":") for each in _texts(entry, "proxyaddresses")]
    has_primary = any(scheme == "SMTP" for scheme, _, _ in proxies)
    for place, mail in enumerate(_texts(entry, "mail")):
        yield AddressKind.ALIAS if has_primary or place else AddressKind.PRIMARY, mail
    for scheme, _, rest in proxies:
        if scheme.lower() == "smtp":
            yield AddressKind.PRIMARY if scheme == "SMTP" else AddressKind.ALIAS, rest
        elif scheme.lower() in ("x500", "x400"):
            yield AddressKind.OTHER, rest
    for each in _texts(entry, "maillocaladdress", "mailalternateaddress"):
        yield AddressKind.ALIAS, each


def _id(entry: LdapEntry) -> str:
    """What stays when an entry is renamed or moved; its name where the server has nothing better."""
    guid = next(iter(entry.attributes.get("objectguid", ())), b"")
    if len(guid) == 16:
        return str(UUID(bytes_le=guid))
    return _first(entry, "entryuuid") or _dn(entry.dn)


def _texts(entry: LdapEntry, *names: str) -> list[str]:
    values = (value for name in names for value in entry.attributes.get(name, ()))
    return [text for value in values if (text := value.decode("utf-8", "replace").strip())]


def _first(entry: LdapEntry, *names: str) -> str:
    """The first value of the first of these attributes that has one; "" without."""
    return next(iter(_texts(entry, *names)), "")


def _dn(dn: str) -> str:
    return ",".join(part.strip() for part in dn.split(",")).casefold()


def _number(text: str) -> int:
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 20 else 0


def _created(text: str) -> str | None:
    """The day of ``20260301120000.0Z`` (RFC 4517 section 3.3.13); None without."""
    day = f"{text[:4]}-{text[4:6]}-{text[6:8]}"
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        return None


def _expires(text: str) -> str | None:
    """The day of a count of 100 ns since 1601; None for an account that does not expire."""
    ticks = _number(text)
    if ticks in _NEVER or ticks < 0:
        return None
    try:
        return (_1601 + timedelta(microseconds=ticks // 10)).date().isoformat()
    except OverflowError:
        return None
