"""Settings: command line over variables over file; what is wrong is named, its value is not shown."""

from pathlib import Path

import pytest

from archive_service.model.errors import Invalid
from archive_service.settings import Settings, host_port, load


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"ARCHIVE_{name.upper()}", raising=False)


def written(folder: Path, text: str) -> Path:
    path = folder / "archive.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_order_of_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = written(tmp_path, 'smtp = "file:1"\nhttp = "file:2"\nlog_level = "DEBUG"\nsmtp_workers = 5\n')
    monkeypatch.setenv("ARCHIVE_SMTP", "variable:1")
    monkeypatch.setenv("ARCHIVE_HTTP", "variable:2")
    settings = load(config, smtp="given:1", http=None)
    assert (settings.smtp, settings.http, settings.log_level) == ("given:1", "variable:2", "DEBUG")
    assert settings.smtp_workers == 5
    assert settings.smtp_hostname == load().smtp_hostname


def test_without_anything_the_defaults_stand() -> None:
    settings = load()
    assert settings.data is None
    assert settings.smtp_max_size == 200 * 1024 * 1024
    assert settings == load()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("unheard_of = 1", "unheard_of"),
        ("smtp_workers = 0", "smtp_workers"),
        ('smtp_workers = "many"', "smtp_workers"),
        ("smtp_max_size = 1", "smtp_max_size"),
        ('smtp_proxy_networks = "10.0.0.1/8"', "smtp_proxy_networks"),
        ('smtp_proxy_networks = "10.0.0.0/8, balancer"', "smtp_proxy_networks"),
        ("follow_seconds = 0", "follow_seconds"),
        ('data = ["x"]', "data"),
    ],
)
def test_what_is_not_understood_is_named_without_its_value(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(Invalid, match=named) as caught:
        load(written(tmp_path, text))
    assert caught.value.code == "settings.invalid"
    assert "many" not in str(caught.value)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_SMTP_WORKERS", "secret-value")
    with pytest.raises(Invalid, match="smtp_workers") as caught:
        load()
    assert "secret-value" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none.toml", tmp_path, binary, written(tmp_path, "smtp = ")):
        with pytest.raises(Invalid, match="settings file") as caught:
            load(path)
        assert str(tmp_path) not in str(caught.value)


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().smtp = "x"


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("127.0.0.1:2525", ("127.0.0.1", 2525)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:25", ("::1", 25)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
    ],
)
def test_host_and_port(text: str, pair: tuple[str, int]) -> None:
    assert host_port(text, "smtp") == pair


@pytest.mark.parametrize("text", ["", ":25", "host", "host:", "host:x", "host:65536", "host:-1", "25"])
def test_what_is_no_host_and_port(text: str) -> None:
    with pytest.raises(Invalid, match="smtp"):
        host_port(text, "smtp")
