"""Every setting, read once: command line, then ``ARCHIVE_*`` variables, then the file given by ``--config``.

Only ``bootstrap``, ``cli`` and the processes that ``serve`` starts read this; all else gets what it needs by argument.
"""

import tomllib
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from archive_service.access.oidc_providers import as_text, is_allowed, providers
from archive_service.model.errors import Invalid


class Settings(BaseSettings):
    """Settings of an archive: embedded in a folder (``data``), or over an S3 store (``store = "s3"``). Each is also
    the variable ``ARCHIVE_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="ARCHIVE_", extra="forbid", frozen=True)

    data: Path | None = Field(None, description="folder of an embedded archive")
    store: Literal["filesystem", "s3"] = Field(
        "filesystem", description="where sealed objects and ledger lie"
    )
    work: Path | None = Field(
        None, description="folder for projections and exports when the archive itself is on S3; disposable"
    )
    s3_endpoint: str | None = Field(None, description="URL of the S3 service; none: AWS")
    s3_region: str = Field("us-east-1", description="region, for signatures")
    s3_bucket: str | None = Field(None, description="archive bucket: versioned, Object Lock on")
    s3_access_key: str | None = Field(None, description="none: the environment's own credentials")
    s3_secret_key: SecretStr | None = Field(None, description="secret of that access key")
    s3_path_style: bool = Field(True, description="bucket in the path (all but AWS), not in the host name")
    s3_ca_bundle: Path | None = Field(None, description="PEM of the certificate authorities trusted for S3")
    s3_connections: int = Field(32, ge=1, le=512, description="connections a process keeps to the store")
    s3_timeout: float = Field(20.0, gt=0, le=60, description="seconds to wait for one answer of the store")
    keys_a: str | None = Field(None, description="first key place: s3://BUCKET or a folder")
    keys_a_endpoint: str | None = Field(None, description="its S3 service; none: as s3_endpoint")
    keys_a_region: str | None = Field(None, description="none: as s3_region")
    keys_a_access_key: str | None = Field(
        None,
        description="none: as s3_access_key at the same endpoint, else the environment's own credentials",
    )
    keys_a_secret_key: SecretStr | None = Field(None, description="secret of that access key")
    keys_b: str | None = Field(None, description="second key place, independent of the first")
    keys_b_endpoint: str | None = Field(None, description="as keys_a_endpoint")
    keys_b_region: str | None = Field(None, description="as keys_a_region")
    keys_b_access_key: str | None = Field(None, description="as keys_a_access_key")
    keys_b_secret_key: SecretStr | None = Field(None, description="as keys_a_secret_key")
    kms: Literal["local-file", "pkcs11", "vault"] = Field("local-file", description="the key service")
    kms_folder: Path | None = Field(None, description="local-file: folder of key versions; none: DATA/kms")
    pkcs11_module: Path | None = Field(None, description="pkcs11: the shared library of the token")
    pkcs11_token: str | None = Field(None, description="pkcs11: label of the token")
    pkcs11_pin: SecretStr | None = Field(None, description="pkcs11: the user's PIN")
    pkcs11_label: str = Field("archive-service", description="pkcs11: label that our keys begin with")
    vault_address: str | None = Field(None, description="vault: URL of the service")
    vault_token: SecretStr | None = Field(None, description="vault: token")
    vault_mount: str = Field("transit", description="vault: where the transit engine is mounted")
    vault_key: str = Field("archive-service", description="vault: name of the transit key")
    vault_namespace: str | None = Field(None, description="vault: namespace")
    vault_ca_bundle: Path | None = Field(None, description="vault: PEM of trusted certificate authorities")
    erasure_grace_hours: float = Field(
        24.0, ge=0, le=24 * 90, description="from an erasure batch to the destruction of its old key version"
    )
    disposition_grace_hours: float = Field(
        72.0,
        ge=0,
        le=24 * 90,
        description="from the approval of a disposition to its beginning; it can be stopped so long",
    )
    slot_takeover_seconds: float = Field(
        60.0, ge=1, le=3600, description="silence after which another process may take a log slot (S3)"
    )
    catalog_url: SecretStr | None = Field(
        None, description="postgresql://USER:PASSWORD@HOST/DATABASE; none: SQLite files in the work folder"
    )
    catalog_connections: int = Field(8, ge=1, le=128, description="connections a process keeps to PostgreSQL")
    index: Literal["tantivy", "elasticsearch"] = Field("tantivy", description="the search index")
    es_url: str | None = Field(None, description="URL of Elasticsearch; several separated by commas")
    es_api_key: SecretStr | None = Field(None, description="Elasticsearch: API key, encoded form")
    es_user: str | None = Field(None, description="Elasticsearch: user, where there is no API key")
    es_password: SecretStr | None = Field(None, description="Elasticsearch: that user's password")
    es_ca_bundle: Path | None = Field(
        None, description="Elasticsearch: PEM of trusted certificate authorities"
    )
    es_prefix: str = Field("archive", description="Elasticsearch: what names of indexes begin with")
    es_timeout: float = Field(30.0, gt=0, le=300, description="Elasticsearch: seconds to wait for one answer")
    es_shards: int = Field(1, ge=1, le=64, description="Elasticsearch: primary shards of a month")
    es_replicas: int = Field(1, ge=0, le=5, description="Elasticsearch: copies of each shard")
    smtp: str = Field("127.0.0.1:2525", description="HOST:PORT of the SMTP endpoint; port 0 takes a free one")
    milter: str | None = Field(
        None,
        description="HOST:PORT of the milter endpoint for Postfix; port 0 takes a free one; none: there is none",
    )
    http: str = Field("127.0.0.1:8025", description="HOST:PORT of the API; port 0 takes a free one")
    public_url: str | None = Field(
        None, description="https:// URL that browsers reach the API by; needed for signing in with one"
    )
    builtin_tokens: bool = Field(True, description="take tokens of the built-in issuer (command token)")
    oidc: str | None = Field(
        None,
        description="identity providers: a JSON array, or [[oidc]] tables in the file (docs/identity.md)",
    )
    oidc_secrets: SecretStr | None = Field(
        None, description="client secrets for signing in, a JSON object by provider name"
    )
    oidc_ca_bundle: Path | None = Field(
        None, description="PEM of certificate authorities trusted for identity providers"
    )
    session_minutes: int = Field(60, ge=5, le=720, description="how long a browser stays signed in")
    api_rate: int | None = Field(
        None, ge=1, le=1_000_000, description="requests a minute of one actor and API process; none: no bound"
    )
    api_patience: float = Field(
        30.0,
        gt=0,
        le=600,
        description="seconds that a client has for a request's head, and again for its body",
    )
    api_connections: int = Field(
        1000, ge=10, le=65536, description="connections of one API process at a time; beyond them 503 at once"
    )
    require_grants: bool = Field(False, description="every role needs a grant, also the case roles")
    require_purpose: bool = Field(False, description="searches, exports and reads of mail name their purpose")
    storage_price: Decimal | None = Field(
        None,
        ge=0,
        le=1e6,
        description="what a GiB costs a month; the yearly pack then says what the mail does",
    )
    storage_currency: str = Field("EUR", pattern="^[A-Z]{3}$", description="of that price (ISO 4217)")
    require_matter: bool = Field(False, description="searches, exports and reads of mail name an open matter")
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
    smtp_proxy_networks: str | None = Field(
        None,
        description="networks (CIDR, by commas) whose SMTP connections begin with a PROXY header, all of them",
    )
    follow_seconds: float = Field(0.2, gt=0, le=60, description="pause between looks at quiet logs")
    checkpoint_seconds: float = Field(
        2.0, gt=0, le=3600, description="pause between checkpoints of grown logs"
    )
    anchor_decoy_seconds: float = Field(
        900.0, ge=0, description="mean pause between entries of the root log that anchor nothing; 0: none"
    )
    ledger_lock_days: int = Field(365, ge=1, description="rolling lock of ledger objects")
    parsers: int = Field(2, ge=1, le=64, description="parser processes of a follower")
    parser_seconds: float = Field(30.0, gt=0, description="time limit of one mail's parsing")
    parser_memory: int = Field(
        2 * 1024**3, ge=256 * 1024**2, description="memory limit of a parser process, bytes"
    )
    clamd: str | None = Field(
        None,
        description="clamd that scans mail after its 250: a Unix socket's path or HOST:PORT; none: no scans",
    )
    clamd_seconds: float = Field(120.0, gt=0, le=3600, description="time for one scan")
    clamd_max_size: int = Field(
        100 * 1024 * 1024,
        ge=1,
        description="largest mail handed to clamd, bytes: not more than its StreamMaxLength",
    )
    clamd_again_hours: float = Field(
        0.0, ge=0, le=24 * 365, description="a clean mail is scanned once more after so long; 0: it is not"
    )
    evidence_dns: str | None = Field(
        None,
        description="resolvers for DKIM and ARC keys: system, or addresses by commas; none: no question is asked",
    )
    evidence_dns_seconds: float = Field(5.0, gt=0, le=60, description="time for one question to the DNS")
    evidence_threads: int = Field(
        2, ge=1, le=64, description="captures that are looked at at once, a tenant and kind of look"
    )
    exports_keep_days: float = Field(
        30.0,
        gt=0,
        le=3650,
        description="so long a finished export and its job are kept; then they are removed",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    health: str | None = Field(
        None,
        description="HOST:PORT where serve answers /health/live, /health/ready and /metrics of its roles",
    )
    alarm_seconds: float = Field(60.0, gt=0, le=3600, description="pause between evaluations of the alarms")
    alarm_repeat_hours: float = Field(
        24.0, gt=0, le=24 * 30, description="an alarm that is still on is told again after so long"
    )
    alarm_lag_seconds: float = Field(300.0, gt=0, description="alarm: mail not findable for longer than this")
    alarm_lag_entries: int = Field(100_000, ge=1, description="alarm: more entries than this not yet taken")
    alarm_checkpoint_seconds: float = Field(600.0, gt=0, description="alarm: entries unsigned for longer")
    alarm_disk_percent: float = Field(
        10.0, ge=0, le=100, description="alarm: less than this part of the work folder's disk is free"
    )
    alarm_certificate_days: float = Field(21.0, ge=0, description="alarm: a TLS certificate ends sooner")
    alarm_webhook_url: SecretStr | None = Field(
        None, description="https:// or http:// URL that alarms are posted to"
    )
    alarm_webhook_secret: SecretStr | None = Field(
        None, description="signs what is posted (HMAC-SHA256, X-Archive-Signature)"
    )
    alarm_webhook_ca_bundle: Path | None = Field(
        None, description="PEM of authorities trusted for the webhook"
    )
    alarm_webhook_any_address: bool = Field(
        False, description="let the webhook reach link-local and cloud metadata addresses too"
    )
    alarm_webhook_seconds: float = Field(10.0, gt=0, le=60, description="time for one attempt to post")
    alarm_mail_server: str | None = Field(None, description="HOST:PORT of the SMTP server for alarms")
    alarm_mail_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="how that server is spoken to: starttls, tls or none"
    )
    alarm_mail_ca_bundle: Path | None = Field(None, description="PEM of authorities trusted for that server")
    alarm_mail_user: str | None = Field(None, description="login there; none: no login")
    alarm_mail_password: SecretStr | None = Field(None, description="password of that login")
    alarm_mail_from: str | None = Field(None, description="sender address of alarm mails")
    alarm_mail_to: str | None = Field(None, description="recipient addresses of alarm mails, by commas")
    alarm_mail_seconds: float = Field(20.0, gt=0, le=120, description="time for one alarm mail's delivery")

    @field_validator("oidc", mode="before")
    @classmethod
    def _oidc(cls, given: Any) -> Any:
        text = as_text(given)
        providers(text if isinstance(text, str) else None)
        return text

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, text: str | None) -> str | None:
        if text is not None and (not is_allowed(text, loopback=True) or "?" in text):
            raise ValueError("https://, or http:// to loopback")
        return None if text is None else text.rstrip("/")

    @field_validator("smtp_proxy_networks")
    @classmethod
    def _networks(cls, text: str | None) -> str | None:
        for network in networks(text):
            ip_network(network)
        return text

    def environment(self) -> dict[str, str]:
        """As ``ARCHIVE_*`` variables for a child process, secrets included: never to be logged."""
        found: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None:
                plain = value.get_secret_value() if isinstance(value, SecretStr) else value
                found[f"ARCHIVE_{name.upper()}"] = str(plain)
        return found


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


def networks(text: str | None) -> tuple[str, ...]:
    """The networks of a setting that holds several, by commas or spaces."""
    return tuple((text or "").replace(",", " ").split())


def host_port(text: str, name: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[IPv6]:PORT``. Raises Invalid."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise Invalid(f"{name} must be HOST:PORT, with a port up to 65535", code="settings.invalid")
    return host.strip("[]"), int(port)
