"""The contract of Kms, over every back end: SoftHSM2 and a real Vault included."""

import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from archive_service.model.errors import KeyUnavailable, Refused, StoreError, Tampered
from archive_service.vault.kms import Kms
from archive_service.vault.kms.opening import KmsChoice, open_kms
from archive_service.vault.kms.pkcs11_session import TokenAddress
from archive_service.vault.stores.filesystem import FileSystemKeyPlace
from tests.services.softhsm import softhsm
from tests.services.vault import Server, vault

CONTEXT = b"archive-service/secret/v1\0owner/identity"


@dataclass(frozen=True)
class Service:
    """A key service of a test's own. ``make``: another process's view of it; ``away``: of it where it is not."""

    make: Callable[[], Kms]
    away: Callable[[], Kms]


@pytest.fixture(scope="module")
def token() -> Iterator[TokenAddress]:
    with softhsm() as address:
        yield address


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with vault() as running:
        yield running


def _local_file(request: pytest.FixtureRequest) -> tuple[KmsChoice, Callable[[KmsChoice], KmsChoice]]:
    folder: Path = request.getfixturevalue("tmp_path") / "kms"

    def away(choice: KmsChoice) -> KmsChoice:
        shutil.rmtree(folder)
        folder.mkdir()  # what is left of a mount point
        return choice

    return KmsChoice("local-file", place=FileSystemKeyPlace(folder)), away


def _pkcs11(request: pytest.FixtureRequest) -> tuple[KmsChoice, Callable[[KmsChoice], KmsChoice]]:
    address: TokenAddress = request.getfixturevalue("token")
    choice = KmsChoice(
        "pkcs11",
        pkcs11_module=address.module,
        pkcs11_token=address.token,
        pkcs11_pin=address.pin,
        pkcs11_label=f"t{secrets.token_hex(4)}",
    )
    return choice, lambda choice: replace(choice, pkcs11_token="another-token")


def _vault(request: pytest.FixtureRequest) -> tuple[KmsChoice, Callable[[KmsChoice], KmsChoice]]:
    running: Server = request.getfixturevalue("server")
    choice = KmsChoice(
        "vault",
        vault_address=running.url,
        vault_token=running.token,
        vault_key=f"t{secrets.token_hex(4)}",
    )
    return choice, lambda choice: replace(choice, vault_address="http://127.0.0.1:1")


BACK_ENDS = {"local-file": _local_file, "pkcs11": _pkcs11, "vault": _vault}


@pytest.fixture(params=list(BACK_ENDS))
def service(request: pytest.FixtureRequest) -> Service:
    choice, away = BACK_ENDS[request.param](request)
    return Service(lambda: open_kms(choice, create=True), lambda: open_kms(away(choice), create=False))


@pytest.fixture
def kms(service: Service) -> Kms:
    return service.make()


def code_of(verb: Callable[[], object], kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        verb()
    return str(getattr(caught.value, "code", ""))


@pytest.mark.parametrize("size", [1, 32, 138, 4096])
def test_what_was_wrapped_opens_in_another_process(service: Service, kms: Kms, size: int) -> None:
    secret = secrets.token_bytes(size)
    version, wrapped = kms.wrap(CONTEXT, secret)
    assert size < 32 or secret not in wrapped
    assert service.make().unwrap(version, CONTEXT, wrapped) == secret
    assert kms.wrap(CONTEXT, secret)[1] != wrapped


def test_another_context_is_tampering(kms: Kms) -> None:
    version, wrapped = kms.wrap(CONTEXT, b"secret")
    for context in (CONTEXT + b"x", CONTEXT[:-1], b""):
        with pytest.raises(Tampered):
            kms.unwrap(version, context, wrapped)
    assert kms.unwrap(version, CONTEXT, wrapped) == b"secret"


def test_damaged_bytes_are_tampering(kms: Kms) -> None:
    version, wrapped = kms.wrap(CONTEXT, b"a secret of some length")
    flipped = [
        wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :]
        for place in (0, len(wrapped) // 2, len(wrapped) - 5)
    ]
    for damaged in (*flipped, wrapped[:-4], wrapped[:5], b"", wrapped + wrapped):
        with pytest.raises(Tampered):
            kms.unwrap(version, CONTEXT, damaged)
    assert kms.unwrap(version, CONTEXT, wrapped) == b"a secret of some length"


def test_another_version_than_it_was_wrapped_under_is_tampering(kms: Kms) -> None:
    version, wrapped = kms.wrap(CONTEXT, b"secret")
    other = kms.rotate()
    with pytest.raises(Tampered):
        kms.unwrap(other, CONTEXT, wrapped)
    assert kms.unwrap(version, CONTEXT, wrapped) == b"secret"


@pytest.mark.parametrize("version", ["", "v0", "1", "v01", "../v1", "v1\n", "é"])
def test_a_version_that_could_not_be_is_tampering(kms: Kms, version: str) -> None:
    _, wrapped = kms.wrap(CONTEXT, b"secret")
    with pytest.raises(Tampered):
        kms.unwrap(version, CONTEXT, wrapped)


def test_rotation_keeps_old_versions_readable_in_order(service: Service, kms: Kms) -> None:
    made = [kms.wrap(CONTEXT, b"0")]
    for number in range(1, 12):
        version = kms.rotate()
        made.append(kms.wrap(CONTEXT, b"%d" % number))
        assert made[-1][0] == version
    names = [version for version, _ in made]
    assert len(set(names)) == len(names)
    for view in (kms, service.make()):
        assert view.versions() == names
        for number, (version, wrapped) in enumerate(made):
            assert view.unwrap(version, CONTEXT, wrapped) == b"%d" % number


def test_a_destroyed_version_is_unreadable_and_named_and_the_rest_is_not(service: Service, kms: Kms) -> None:
    old, wrapped_old = kms.wrap(CONTEXT, b"old")
    other = service.make()
    assert other.unwrap(old, CONTEXT, wrapped_old) == b"old"  # whatever it keeps, it must not serve
    kms.rotate()
    new, wrapped_new = kms.wrap(CONTEXT, b"new")
    kms.destroy(old)
    for view in (kms, other, service.make()):
        assert (
            code_of(lambda view=view: view.unwrap(old, CONTEXT, wrapped_old), KeyUnavailable)
            == "kms.destroyed"
        )  # type: ignore[misc]
        assert view.unwrap(new, CONTEXT, wrapped_new) == b"new"
        assert view.versions() == [new]
    kms.destroy(old)  # absent is no error


def test_versions_go_oldest_first(kms: Kms) -> None:
    kms.wrap(CONTEXT, b"x")
    for _ in range(3):
        kms.rotate()
    first, second, *_ = kms.versions()
    kms.destroy(first)
    kms.destroy(second)
    assert len(kms.versions()) == 2
    assert kms.rotate() not in (first, second)


def test_one_from_the_middle_is_destroyed_or_refused_and_never_another(kms: Kms) -> None:
    kms.wrap(CONTEXT, b"x")
    kms.rotate()
    kms.rotate()
    before = kms.versions()
    try:
        kms.destroy(before[1])
    except Refused as refused:
        assert refused.code == "kms.order"
        assert kms.versions() == before
    else:
        assert kms.versions() == [before[0], before[2]]


def test_the_newest_version_is_not_destroyed(kms: Kms) -> None:
    kms.wrap(CONTEXT, b"x")
    assert code_of(lambda: kms.destroy(kms.versions()[-1]), Refused) == "kms.newest"
    version, wrapped = kms.wrap(CONTEXT, b"x")
    assert kms.unwrap(version, CONTEXT, wrapped) == b"x"


def test_a_service_that_is_away_is_never_taken_for_a_destroyed_key(service: Service, kms: Kms) -> None:
    version, wrapped = kms.wrap(CONTEXT, b"secret")
    kms.rotate()
    away = service.away()
    verbs: list[Callable[[], object]] = [
        lambda: away.unwrap(version, CONTEXT, wrapped),
        lambda: away.wrap(CONTEXT, b"x"),
        away.versions,
        away.rotate,
        lambda: away.destroy(version),
    ]
    for verb in verbs:
        assert code_of(verb, StoreError) == "kms.away"


def test_a_version_that_is_yet_to_come_is_not_a_destroyed_one(service: Service, kms: Kms) -> None:
    version, wrapped = kms.wrap(CONTEXT, b"x")
    later = "v9" + version[2:]
    if kms.provider == "vault":
        wrapped = wrapped.replace(b":v1:", b":v9:")
    assert code_of(lambda: kms.unwrap(later, CONTEXT, wrapped), StoreError) == "kms.unknown_version"


def test_a_service_without_a_key_makes_none_unless_the_archive_is_new(
    request: pytest.FixtureRequest, service: Service
) -> None:
    choice, _ = BACK_ENDS[request.node.callspec.params["service"]](request)
    empty = open_kms(choice, create=False)
    assert code_of(lambda: empty.wrap(CONTEXT, b"x"), StoreError) == "kms.away"
    assert code_of(empty.rotate, StoreError) == "kms.away"
    assert code_of(empty.versions, StoreError) == "kms.away"


def test_eight_that_rotate_at_once_make_versions_that_all_open(service: Service, kms: Kms) -> None:
    kms.wrap(CONTEXT, b"x")
    start = threading.Barrier(8)

    def rotate_and_wrap(number: int) -> tuple[str, str, bytes]:
        mine = service.make()
        start.wait()
        made = mine.rotate()
        return made, *mine.wrap(CONTEXT, b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(rotate_and_wrap, range(8)))
    standing = service.make().versions()
    assert len(set(standing)) == len(standing)
    for number, (made, version, wrapped) in enumerate(found):
        assert made in standing and version in standing
        assert service.make().unwrap(version, CONTEXT, wrapped) == b"%d" % number


def test_eight_threads_make_the_first_version_of_one_service(kms: Kms) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: kms.wrap(CONTEXT, b"%d" % number), range(8)))
    for number, (version, wrapped) in enumerate(found):
        assert kms.unwrap(version, CONTEXT, wrapped) == b"%d" % number


def test_threads_that_share_an_instance_do_not_mix(kms: Kms) -> None:
    kms.wrap(CONTEXT, b"x")

    def there_and_back(number: int) -> bool:
        context = CONTEXT + b"%d" % number
        version, wrapped = kms.wrap(context, b"%d" % number)
        with pytest.raises(Tampered):
            kms.unwrap(version, CONTEXT, wrapped)
        return kms.unwrap(version, context, wrapped) == b"%d" % number

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(there_and_back, range(40)))


def test_no_secret_of_ours_shows_in_a_choice(service: Service) -> None:
    choice = KmsChoice("vault", pkcs11_pin="hidden-pin", vault_token="hidden-token")
    assert "hidden" not in repr(choice)
