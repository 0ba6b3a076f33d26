"""Every setting, read once: command line, then ``ARCHIVE_*`` variables, then the file given by ``--config``.

Only ``bootstrap``, ``cli`` and the processes that ``serve`` starts read this; all else gets what it needs by argument.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from archive_service.model.errors import Invalid


class Settings(BaseSettings):
    """Settings of an embedded archive. Each is also the variable ``ARCHIVE_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="ARCHIVE_", extra="forbid", frozen=True)

    data: Path | None = Field(None, description="folder of an embedded archive")
    smtp: str = Field("127.0.0.1:2525", description="HOST:PORT of the SMTP endpoint; port 0 takes a free one")
    http: str = Field("127.0.0.1:8025", description="HOST:PORT of the API; port 0 takes a free one")
    smtp_workers: int = Field(2, ge=1, le=64, description="SMTP processes sharing the port")
    smtp_hostname: str = Field("archive.localhost", description="name in greeting and EHLO")
    smtp_domain: str = Field("archive.localhost", description="domain of new secret recipient addresses")
    smtp_max_size: int = Field(200 * 1024 * 1024, ge=65536, description="largest mail, bytes (RFC 1870)")
    smtp_max_in_flight: int = Field(
        256 * 1024 * 1024, ge=1024 * 1024, description="bytes in memory a process"
    )
    smtp_max_connections: int = Field(1000, ge=1, description="connections a process")
    smtp_tls_certificate: Path | None = Field(None, description="PEM chain; STARTTLS is offered when set")
    smtp_tls_key: Path | None = Field(None, description="PEM key of that certificate")
    follow_seconds: float = Field(0.2, gt=0, le=60, description="pause between looks at quiet logs")
    checkpoint_seconds: float = Field(
        2.0, gt=0, le=3600, description="pause between checkpoints of grown logs"
    )
    ledger_lock_days: int = Field(365, ge=1, description="rolling lock of ledger objects")
    parser_seconds: float = Field(30.0, gt=0, description="time limit of one mail's parsing")
    parser_memory: int = Field(
        2 * 1024**3, ge=256 * 1024**2, description="memory limit of a parser process, bytes"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR"
    )


def load(config: Path | None = None, **given: Any) -> Settings:
    """Settings with ``given`` (not None) above all. Raises Invalid naming the setting that is wrong."""
    chosen = {key: value for key, value in given.items() if value is not None}
    try:
        from_file = tomllib.loads(config.read_text("utf-8")) if config is not None else {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(
            f"the settings file cannot be read: {type(error).__name__}", code="settings.invalid"
        ) from error
    try:
        above = Settings(**chosen)
        below = {key: value for key, value in from_file.items() if key not in above.model_fields_set}
        return Settings(**{**below, **chosen})
    except ValidationError as error:
        names = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise Invalid(f"settings not understood: {names}", code="settings.invalid") from error


def host_port(text: str, name: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[IPv6]:PORT``. Raises Invalid."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise Invalid(f"{name} must be HOST:PORT, with a port up to 65535", code="settings.invalid")
    return host.strip("[]"), int(port)
