"""The key store of one owner into another one: records as they are, what the key service wraps opened here and wrapped
there, both places read back. What is destroyed at the source is removed in the target."""

from archive_service.model.errors import KeyUnavailable, Refused, StoreError, Tampered
from archive_service.vault import key_format
from archive_service.vault.key_places import KeyStore
from archive_service.vault.kms import Kms
from archive_service.vault.kms_record import context_of, open_record, wrapped_record

_WRAPPED = {
    "table": "table",
    "secrets": "secret",
}  # folders whose records the key service wraps; what binds them


class KeyCarrier:
    """From one key store and key service to another. The two services may be one."""

    def __init__(self, source: KeyStore, source_kms: Kms, target: KeyStore, target_kms: Kms) -> None:
        self._source = source
        self._source_kms = source_kms
        self._target = target
        self._target_kms = target_kms

    def carry(self, owner: str) -> int:
        """Every record of an owner; in both places of the target, read back, on return; how many. Nobody may write
        either store meanwhile for the result to be whole.

        Raises Tampered (``relocate.places``) for a record that is not the same in both places of the source, Refused
        (``relocate.kms``) when both sides are the same places under different key services, StoreError.
        """
        names = list(self._source.list(f"{owner}/"))
        for name in names:
            self._one(owner, name)
        for name in set(self._target.list(f"{owner}/")) - set(names):
            for place in self._target.places:
                place.delete(name)
        return len(names)

    def _one(self, owner: str, name: str) -> None:
        copies = [copy for copy in self._source.copies(name) if copy is not None]
        if not copies or any(copy != copies[0] for copy in copies):
            raise Tampered("a key record is not the same in both places", code="relocate.places")
        standing = self._target.copies(name)
        data = self._wrapped(owner, name, copies[0], standing)
        if standing != [data, data]:
            self._target.put(name, data)
            if self._target.copies(name) != [data, data]:
                raise StoreError(
                    "a key record does not read back from both places", code="relocate.read_back"
                )

    def _wrapped(self, owner: str, name: str, data: bytes, standing: list[bytes | None]) -> bytes:
        """The record as it must stand in the target: one that opens there is left as it stands."""
        _, folder, last = name.split("/", 2)
        if folder not in _WRAPPED:
            return data
        context = context_of(owner, _WRAPPED[folder], int(last) if folder == "table" else last)
        plain = open_record(self._source_kms, data, context, "a key record")
        first, second = standing
        if first is not None and first == second and self._opens(first, context, plain):
            return first
        if self._opens(data, context, plain):
            return data  # one key service for both
        if data in standing:
            raise Refused(
                "the same key places under another key service: use keys rewrap, or other places",
                code="relocate.kms",
            )
        made = wrapped_record(self._target_kms, key_format.parse(data, name), context, plain)
        if not self._opens(made, context, plain):
            raise StoreError("the key service does not open what it wrapped", code="relocate.kms")
        return made

    def _opens(self, data: bytes, context: bytes, plain: bytes) -> bool:
        try:
            return self._provider(data) == self._target_kms.provider and plain == open_record(
                self._target_kms, data, context, "a key record"
            )
        except (KeyUnavailable, Tampered, StoreError):
            return False  # of another service; if this one is away, wrapping will say so

    @staticmethod
    def _provider(data: bytes) -> str:
        return str(key_format.parse(data, "a key record").get("kms", {}).get("provider"))
