"""Where an archive lies: what is missing is named, what contradicts itself is refused, secrets are never shown."""

from pathlib import Path

import pytest

from archive_service.model.errors import Invalid
from archive_service.places.placement import Bucket, Embedded, OnS3, placement
from archive_service.settings import Settings, load

SECRET = "do-not-show-me"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ARCHIVE_{name.upper()}", raising=False)


def on_s3(**changed: object) -> Settings:
    given: dict[str, object] = {
        "store": "s3",
        "s3_bucket": "archive",
        "s3_endpoint": "http://127.0.0.1:9",
        "s3_access_key": "key",
        "s3_secret_key": SECRET,
        "keys_a": "s3://keys-a",
        "keys_b": "s3://keys-b",
        "kms_folder": Path("kms"),
        "work": Path("work"),
    }
    return load(**{**given, **changed})


def refused(settings: Settings) -> str:
    with pytest.raises(Invalid) as caught:
        placement(settings)
    assert caught.value.code == "settings.invalid"
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_a_folder_is_an_embedded_archive() -> None:
    assert placement(load(data=Path("a"))) == Embedded(Path("a"))


def test_nothing_said_names_both_ways() -> None:
    said = refused(load())
    assert "--data" in said and "ARCHIVE_STORE=s3" in said


def test_an_archive_on_s3() -> None:
    placed = placement(on_s3())
    assert isinstance(placed, OnS3)
    assert (placed.archive.name, placed.work) == ("archive", Path("work"))
    assert [place.name for place in placed.keys if isinstance(place, Bucket)] == ["keys-a", "keys-b"]
    assert all(isinstance(place, Bucket) and place.access_key == "key" for place in placed.keys)
    assert SECRET not in repr(placed)


@pytest.mark.parametrize("missing", ["s3_bucket", "keys_a", "keys_b", "work", "kms_folder"])
def test_what_is_missing_is_named(missing: str) -> None:
    assert f"ARCHIVE_{missing.upper()}" in refused(on_s3(**{missing: None}))


@pytest.mark.parametrize(
    ("kms", "named"),
    [
        ("pkcs11", ["ARCHIVE_PKCS11_MODULE", "ARCHIVE_PKCS11_TOKEN", "ARCHIVE_PKCS11_PIN"]),
        ("vault", ["ARCHIVE_VAULT_ADDRESS", "ARCHIVE_VAULT_TOKEN"]),
    ],
)
def test_what_a_key_service_needs_is_named(kms: str, named: list[str]) -> None:
    for settings in (on_s3(kms=kms), load(data=Path("a"), kms=kms)):
        said = refused(settings)
        assert all(name in said for name in named)


def test_a_folder_and_s3_contradict_each_other() -> None:
    said = refused(on_s3(data=Path("a")))
    assert "--data" in said and "ARCHIVE_STORE=s3" in said


@pytest.mark.parametrize("apart", ["work", "s3_bucket", "keys_a", "keys_b"])
def test_a_folder_and_what_lies_apart_contradict_each_other(apart: str) -> None:
    said = refused(load(data=Path("a"), **{apart: "elsewhere"}))
    assert "--data" in said and f"ARCHIVE_{apart.upper()}" in said


@pytest.mark.parametrize(
    "changed",
    [
        {"keys_b": "s3://keys-a"},
        {"keys_b": "s3://keys-a/"},
        {"keys_b": "s3://keys-a", "keys_b_endpoint": "http://127.0.0.1:9/"},
        {"keys_a": "places/a", "keys_b": "places/../places/a"},
    ],
)
def test_one_place_twice_is_refused(changed: dict[str, str]) -> None:
    said = refused(on_s3(**changed))
    assert "ARCHIVE_KEYS_A" in said and "ARCHIVE_KEYS_B" in said


def test_one_name_at_two_services_is_two_places() -> None:
    settings = on_s3(keys_b="s3://keys-a", keys_b_endpoint="http://127.0.0.2:9")
    placed = placement(settings)
    assert isinstance(placed, OnS3)
    elsewhere = placed.keys[1]
    assert isinstance(elsewhere, Bucket) and elsewhere.access_key is None  # not shown to another service


@pytest.mark.parametrize("which", ["keys_a", "keys_b"])
def test_the_archive_bucket_is_no_key_place(which: str) -> None:
    assert f"ARCHIVE_{which.upper()}" in refused(on_s3(**{which: "s3://archive"}))


def test_the_key_services_folder_is_no_key_place() -> None:
    assert "ARCHIVE_KMS_FOLDER" in refused(on_s3(keys_a="kms"))


@pytest.mark.parametrize("text", ["s3://", "s3://UPPER", "s3:keys", "s3://keys/with/path", "s3://-x"])
def test_what_is_no_bucket_is_named_by_its_setting(text: str) -> None:
    assert "ARCHIVE_KEYS_A" in refused(on_s3(keys_a=text))


@pytest.mark.parametrize(("which", "left_out"), [("s3", "s3_secret_key"), ("s3", "s3_access_key")])
def test_half_a_pair_of_credentials_is_named(which: str, left_out: str) -> None:
    assert f"ARCHIVE_{left_out.upper()}" in refused(on_s3(**{left_out: None}))


def test_children_get_the_same_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    """``serve`` hands its settings on as variables."""
    for settings in (on_s3(), load(data=Path("a"))):
        with monkeypatch.context() as child:
            for name, value in settings.environment().items():
                child.setenv(name, value)
            assert placement(load()) == placement(settings)
