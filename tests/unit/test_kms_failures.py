"""What token and Vault do when they fail in the middle: nothing is lost, and every failure has its own name."""

import multiprocessing
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from archive_service.model.errors import KeyUnavailable, StoreDenied, StoreError
from archive_service.vault.kms.pkcs11_session import Token, TokenAddress
from archive_service.vault.kms.pkcs11_token import Pkcs11Kms
from archive_service.vault.kms.vault_transit import VaultAddress, VaultKms
from tests.services.softhsm import softhsm
from tests.services.vault import Server, vault

CONTEXT = b"archive-service/secret/v1\0owner/identity"


def code_of(verb: Any, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        verb()
    assert type(caught.value) is kind
    return str(getattr(caught.value, "code", ""))


# --- PKCS#11 ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address() -> Iterator[TokenAddress]:
    with softhsm() as found:
        yield found


@pytest.fixture
def token_kms(address: TokenAddress) -> Pkcs11Kms:
    return Pkcs11Kms(address, f"t{secrets.token_hex(4)}", create=True)


# python-pkcs11's search of the ended session says so once more when it is collected
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_session_that_was_ended_is_opened_again(address: TokenAddress, token_kms: Pkcs11Kms) -> None:
    version, wrapped = token_kms.wrap(CONTEXT, b"x")
    Token(address).run(lambda session: session.close())  # logs the whole process out
    assert token_kms.unwrap(version, CONTEXT, wrapped) == b"x"
    token_kms.close()
    assert token_kms.versions() == [version]


def test_a_wrong_pin_is_refused_and_tried_once_only(address: TokenAddress, token_kms: Pkcs11Kms) -> None:
    token_kms.wrap(CONTEXT, b"x")
    token_kms.close()
    wrong = Pkcs11Kms(TokenAddress(address.module, address.token, "00000000"), token_kms._prefix)
    with pytest.raises(StoreDenied) as denied:
        wrong.versions()
    assert denied.value.code == "kms.denied"
    assert "00000000" not in str(denied.value) + repr(wrong._token._address)
    assert len(token_kms.versions()) == 1  # the token is not locked


def test_a_module_that_is_not_there_is_away(address: TokenAddress) -> None:
    absent = Pkcs11Kms(TokenAddress("/nowhere/pkcs11.so", address.token, address.pin), "t")
    assert code_of(absent.versions, StoreError) == "kms.away"


def test_keys_of_another_prefix_are_not_ours(address: TokenAddress) -> None:
    prefix = f"t{secrets.token_hex(4)}"
    Pkcs11Kms(address, f"{prefix}-more", create=True).wrap(CONTEXT, b"x")
    assert code_of(Pkcs11Kms(address, prefix).versions, StoreError) == "kms.away"


def test_a_key_cannot_leave_the_token(address: TokenAddress, token_kms: Pkcs11Kms) -> None:
    import pkcs11

    token_kms.wrap(CONTEXT, b"x")

    def look(session: Any) -> dict[str, bool]:
        (key,) = token_kms._standing(session).values()
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]
        names = ("TOKEN", "PRIVATE", "SENSITIVE", "EXTRACTABLE", "WRAP", "SIGN", "DERIVE")
        return {name: bool(key[getattr(pkcs11.Attribute, name)]) for name in names}

    assert Token(address).run(look) == {
        "TOKEN": True,
        "PRIVATE": True,
        "SENSITIVE": True,
        "EXTRACTABLE": False,
        "WRAP": False,
        "SIGN": False,
        "DERIVE": False,
    }


def _in_a_child(kms: Pkcs11Kms, version: str, wrapped: bytes, said: Any) -> None:
    said.put(kms.unwrap(version, CONTEXT, wrapped))


def test_a_fork_opens_a_session_of_its_own(token_kms: Pkcs11Kms) -> None:
    version, wrapped = token_kms.wrap(CONTEXT, b"across a fork")
    context = multiprocessing.get_context("fork")
    said = context.Queue()
    child = context.Process(target=_in_a_child, args=(token_kms, version, wrapped, said))
    child.start()
    assert said.get(timeout=60) == b"across a fork"
    child.join(60)
    assert token_kms.unwrap(version, CONTEXT, wrapped) == b"across a fork"


# --- Vault --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with vault() as running:
        yield running


def vault_kms(server: Server, token: str | None = None, *, create: bool = True, **more: Any) -> VaultKms:
    key = f"t{secrets.token_hex(4)}"
    return VaultKms(VaultAddress(server.url, token or server.token, key=key), create=create, **more)


def test_a_sealed_vault_is_away_and_the_same_after_unsealing(server: Server) -> None:
    if server.unseal is None:
        pytest.skip("Vault is another's: not sealed by tests")
    kms = vault_kms(server)
    version, wrapped = kms.wrap(CONTEXT, b"x")
    kms.rotate()
    server.client().sys.seal()
    try:
        for verb in (
            lambda: kms.unwrap(version, CONTEXT, wrapped),
            kms.versions,
            lambda: kms.destroy(version),
        ):
            assert code_of(verb, StoreError) == "kms.away"
    finally:
        requests.post(f"{server.url}/v1/sys/unseal", json={"key": server.unseal}, timeout=60)
    assert kms.unwrap(version, CONTEXT, wrapped) == b"x"


def test_a_token_that_is_refused_is_no_destroyed_key(server: Server) -> None:
    kms = vault_kms(server, "hvs.not-a-token")
    assert code_of(lambda: kms.unwrap("v1", CONTEXT, b"vault:v1:AAAA"), StoreDenied) == "kms.denied"


def test_a_token_is_renewed_at_half_its_life(server: Server) -> None:
    now = [1000.0]
    made = server.client().auth.token.create(ttl="1h", policies=["root"], renewable=True, no_parent=True)
    kms = vault_kms(server, made["auth"]["client_token"], clock=lambda: now[0])
    kms.wrap(CONTEXT, b"x")
    first = kms._renew_at
    assert 1000 < first <= 1000 + 1800
    now[0] = first
    kms.versions()
    assert kms._renew_at > first


def test_a_version_that_is_barred_but_not_trimmed_is_not_destroyed(server: Server) -> None:
    kms = vault_kms(server)
    version, wrapped = kms.wrap(CONTEXT, b"x")
    kms.rotate()
    transit = server.client().secrets.transit
    transit.update_key_configuration(name=kms._address.key, min_decryption_version=2)
    assert code_of(lambda: kms.unwrap(version, CONTEXT, wrapped), StoreError) == "kms.damaged"
    assert kms.versions() == ["v1", "v2"]
    kms.destroy("v1")
    assert code_of(lambda: kms.unwrap(version, CONTEXT, wrapped), KeyUnavailable) == "kms.destroyed"


def test_a_destroyed_version_cannot_be_had_back(server: Server) -> None:
    kms = vault_kms(server)
    kms.wrap(CONTEXT, b"x")
    kms.rotate()
    kms.destroy("v1")
    client = server.client()
    client.secrets.transit.update_key_configuration(
        name=kms._address.key, exportable=True, allow_plaintext_backup=True
    )
    held = client.secrets.transit.export_key(name=kms._address.key, key_type="encryption-key")
    assert list(held["data"]["keys"]) == ["2"]
    answer = requests.post(
        f"{server.url}/v1/transit/keys/{kms._address.key}/config",
        headers={"X-Vault-Token": server.token},
        json={"min_decryption_version": 1},
        timeout=60,
    )
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "setting", [{"exportable": True}, {"key_type": "chacha20-poly1305"}, {"derived": True}]
)
def test_a_key_of_another_kind_is_refused(server: Server, setting: dict[str, Any]) -> None:
    kms = vault_kms(server)
    server.client().secrets.transit.create_key(
        name=kms._address.key, **{"key_type": "aes256-gcm96", **setting}
    )
    assert code_of(lambda: kms.wrap(CONTEXT, b"x"), StoreError) == "kms.damaged"


def test_no_secret_shows(server: Server) -> None:
    kms = vault_kms(server, "hvs.secret-token")
    with pytest.raises(StoreDenied) as denied:
        kms.versions()
    assert "secret-token" not in str(denied.value) + repr(kms._address)
