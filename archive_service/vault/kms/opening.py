"""Builds the key service that was chosen. Knows no settings: ``bootstrap`` translates them."""

from dataclasses import dataclass, field
from typing import Literal

from archive_service.model.errors import Invalid
from archive_service.vault.kms.base import Kms
from archive_service.vault.kms.local_file import LocalKms
from archive_service.vault.stores.base import KeyPlace


@dataclass(frozen=True)
class KmsChoice:
    """Which key service, and where. What a back end does not use is ignored."""

    provider: Literal["local-file", "pkcs11", "vault"] = "local-file"
    place: KeyPlace | None = None  # local-file
    pkcs11_module: str | None = None
    pkcs11_token: str | None = None
    pkcs11_pin: str | None = field(default=None, repr=False)
    pkcs11_label: str = "archive-service"
    vault_address: str | None = None
    vault_token: str | None = field(default=None, repr=False)
    vault_mount: str = "transit"
    vault_key: str = "archive-service"
    vault_namespace: str | None = None
    vault_ca_bundle: str | None = None


def open_kms(choice: KmsChoice, *, create: bool = False) -> Kms:
    """The key service. ``create``: for a new archive only, its first key version is made when it is first needed; else
    a service without one is an error, because it is another one, or its disk is not mounted.

    Nothing is asked of the service yet. Raises Invalid naming the setting that is missing.
    """
    if choice.provider == "pkcs11":
        return _token(choice, create=create)
    if choice.provider == "vault":
        return _vault(choice, create=create)
    if choice.place is None:
        raise _missing("kms_folder")
    return LocalKms(choice.place, create=create)


def _token(choice: KmsChoice, *, create: bool) -> Kms:
    from archive_service.vault.kms.pkcs11_session import (
        TokenAddress,
    )  # loads a C library's binding: only when chosen
    from archive_service.vault.kms.pkcs11_token import Pkcs11Kms

    if not choice.pkcs11_module:
        raise _missing("pkcs11_module")
    if not choice.pkcs11_token:
        raise _missing("pkcs11_token")
    if not choice.pkcs11_pin:
        raise _missing("pkcs11_pin")
    address = TokenAddress(choice.pkcs11_module, choice.pkcs11_token, choice.pkcs11_pin)
    return Pkcs11Kms(address, choice.pkcs11_label, create=create)


def _vault(choice: KmsChoice, *, create: bool) -> Kms:
    from archive_service.vault.kms.vault_transit import (
        VaultAddress,
        VaultKms,
    )  # an HTTP client: only when chosen

    if not choice.vault_address:
        raise _missing("vault_address")
    if not choice.vault_token:
        raise _missing("vault_token")
    address = VaultAddress(
        choice.vault_address,
        choice.vault_token,
        choice.vault_mount,
        choice.vault_key,
        choice.vault_namespace,
        choice.vault_ca_bundle,
    )
    return VaultKms(address, create=create)


def _missing(setting: str) -> Invalid:
    return Invalid(f"the key service needs the setting {setting}", code="settings.invalid")
