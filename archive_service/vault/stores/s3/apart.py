"""Whether two key places are two: the same bucket may have several names (a host name and its address, an alias)."""

import secrets

from archive_service.model.errors import NotFound
from archive_service.vault.stores.s3.client import S3Connection
from archive_service.vault.stores.s3.key_place import S3KeyPlace
from archive_service.vault.stores.s3.probe import StoreUnfit


def probe_apart(first: S3Connection, second: S3Connection) -> list[tuple[str, str]]:
    """Write a record to the first place and look for it in the second. Raises StoreUnfit when it is there."""
    name = f"probe/{secrets.token_hex(8)}"
    here, there = S3KeyPlace(first), S3KeyPlace(second)
    try:
        here.put(name, b"probe")
        there.get(name)
    except NotFound:
        return [("two places", "what is written to the first is not in the second")]
    finally:
        here.delete(name)
        here.close()
        there.close()
    raise StoreUnfit("both key places are the same bucket: wiped once, every key is lost")
