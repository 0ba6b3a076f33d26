"""Which addresses a webhook may reach. A URL is a setting, but names are answered by others: one that leads to the
metadata service of a cloud would hand out credentials of this machine."""

import socket
from urllib.parse import SplitResult

from archive_service.model.errors import Refused, StoreError
from archive_service.model.reachable import is_refused


def resolve(url: SplitResult, *, anywhere: bool) -> list[tuple[str, int]]:
    """The addresses of a URL's host, to be connected to as they are: a name that is asked twice may answer twice.
    Raises StoreError (``alarm.unreachable``) for an unknown name, Refused (``alarm.address``) when any address may not
    be reached."""
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise StoreError("the webhook's host is not known", code="alarm.unreachable") from error
    addresses = [(str(where[0]), port) for *_, where in found]
    if not anywhere and any(is_refused(address) for address, _ in addresses):
        raise Refused("the webhook's host has an address that may not be reached", code="alarm.address")
    return list(dict.fromkeys(addresses))
