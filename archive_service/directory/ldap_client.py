"""Entries from an LDAP server (RFC 4511): paged (RFC 2696), over TLS that is verified, with a bound on every wait.

Nothing is written there. Referrals are not followed: they would take our password to a server that nobody named.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ldap3 import ANONYMOUS, NONE, SIMPLE, SUBTREE, SYNC, Connection, Server, Tls
from ldap3.core.exceptions import LDAPException, LDAPInvalidFilterError

from archive_service.directory.ldap_entry import LdapEntry
from archive_service.model.errors import Invalid, StoreDenied, StoreError
from archive_service.model.reachable import looked_up

_CONNECT, _ANSWER = 15, 120  # seconds
PAGE = 500


@dataclass(frozen=True)
class LdapServer:
    """``url``: ``ldaps://host[:port]``, or ``ldap://host[:port]``, where STARTTLS comes before anything else unless
    ``plain``. ``ca``: who must have signed its certificate, else those that the system trusts."""

    url: str
    bind_dn: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    plain: bool = False


class _Verified(Tls):  # type: ignore[misc]
    """TLS by the standard library's rules: the certificate's chain and its host name, ``name``, whatever address is
    connected to."""

    def __init__(self, ca: Path | None, name: str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._ca = ca
        self._name = name

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        context = ssl.create_default_context(cafile=None if self._ca is None else str(self._ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        plain = connection.socket
        try:
            connection.socket = context.wrap_socket(
                plain, server_hostname=self._name, do_handshake_on_connect=do_handshake
            )
        except (OSError, ValueError):
            plain.close()
            raise


class LdapReader:
    """A bound connection: see ``ldap_entry.Entries``."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.referrals = 0

    def entries(self, base: str, filter: str, attributes: list[str]) -> Iterator[LdapEntry]:
        """See ``ldap_entry.Entries``."""
        with _telling():
            found = self._connection.extend.standard.paged_search(
                base, filter, SUBTREE, attributes=attributes, paged_size=PAGE, generator=True
            )
            for each in found:
                if each["type"] == "searchResEntry":
                    yield _entry(each)
                else:
                    self.referrals += 1


@contextmanager
def connected(server: LdapServer) -> Iterator[LdapReader]:
    """Connect and bind. Raises Invalid (``ldap.url``), Refused
    (``network.address``), StoreDenied (``ldap.denied``), StoreError (``ldap.failed``)."""
    parts = urlsplit(server.url)
    if parts.scheme not in ("ldap", "ldaps") or not parts.hostname:
        raise Invalid("write ldaps://host or ldap://host", code="ldap.url")
    if server.ca is not None and not server.ca.is_file():
        raise Invalid("there is no such file of certificates", code="ldap.url")
    secure = parts.scheme == "ldaps"
    with _telling():
        connection = _opened(server, parts.hostname, parts.port or (636 if secure else 389), secure=secure)
        try:
            if not secure and not server.plain:
                connection.start_tls(read_server_info=False)
            connection.bind(read_server_info=False)
            yield LdapReader(connection)
        finally:
            connection.unbind()
            _close(connection)


def _opened(server: LdapServer, host: str, port: int, *, secure: bool) -> Any:
    """To the first address that takes it: to the addresses that were looked at, for a name that is asked twice may
    answer twice. Raises Refused, OSError, UnicodeError, LDAPException."""
    failed: LDAPException | None = None
    for address in looked_up(host, port):
        connection = _connection(server, host, address, port, secure=secure)
        try:
            connection.open()
        except LDAPException as error:
            _close(connection)
            failed = error
        else:
            return connection
    raise failed or OSError("the name has no address")


def _connection(server: LdapServer, host: str, address: str, port: int, *, secure: bool) -> Any:
    """``address``: the library asks the resolver nothing about a number."""
    place = Server(
        address,
        port=port,
        use_ssl=secure,
        tls=_Verified(server.ca, host),
        get_info=NONE,
        connect_timeout=_CONNECT,
    )
    return Connection(
        place,
        user=server.bind_dn,
        password=server.password,
        authentication=SIMPLE if server.bind_dn else ANONYMOUS,
        client_strategy=SYNC,
        auto_referrals=False,
        raise_exceptions=True,
        read_only=True,
        receive_timeout=_ANSWER,
    )


def _close(connection: Any) -> None:
    """The library leaves the socket open where TLS failed."""
    if connection.socket is not None:
        connection.socket.close()


@contextmanager
def _telling() -> Iterator[None]:
    """The library's errors as ours, without its words: they may hold names."""
    try:
        yield
    except LDAPInvalidFilterError as error:
        raise Invalid("the filter does not follow RFC 4515", code="ldap.filter") from error
    except LDAPException as error:
        kind = type(error).__name__
        if kind in (
            "LDAPInvalidCredentialsResult",
            "LDAPInsufficientAccessRightsResult",
            "LDAPPasswordIsMandatoryError",
        ):
            raise StoreDenied("the LDAP server refuses us", code="ldap.denied") from error
        raise StoreError(f"the LDAP server cannot be read: {kind}", code="ldap.failed") from error
    except (ssl.SSLError, OSError, UnicodeError) as error:
        raise StoreError("the LDAP server cannot be reached", code="ldap.failed") from error


def _entry(found: dict[str, Any]) -> LdapEntry:
    """Active Directory gives long attributes in ranges (MS-ADTS section 3.1.1.3.1.3.3); the last has ``-*``."""
    attributes: dict[str, list[bytes]] = {}
    cut = set()
    for given, values in found["raw_attributes"].items():
        name, _, options = given.lower().partition(";")
        attributes[name] = attributes.get(name, []) + list(values)
        if options.startswith("range=") and not options.endswith("-*"):
            cut.add(name)
    return LdapEntry(str(found["dn"]), attributes, frozenset(cut))
