"""A certified OpenID provider (oidc-provider, from npm) on loopback, with people, clients and keys of a test's own.

``python -m tests.services.oidc_provider`` brings one up, prints its issuer, and takes it down at Ctrl-C.
"""

import base64
import json
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.services.tools import free_port, missing

HOW = "Node 20 or newer, and npm ci of tests/services/oidc_server (there, or in .venv/tools/oidc-provider)"
PATIENCE = 60.0  # seconds until a server that does not answer fails the run
AUDIENCE = "https://archive.example/api"
_ROOT = Path(__file__).resolve().parents[2]
_SERVER = Path(__file__).resolve().parent / "oidc_server"


def _number(value: int, size: int | None = None) -> str:
    raw = value.to_bytes(size or (value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def new_key(algorithm: str) -> dict[str, Any]:
    """A private key as a JWK, with an id of its own."""
    said = {"kid": secrets.token_hex(8), "use": "sig", "alg": algorithm}
    if algorithm == "ES256":
        numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
        public = numbers.public_numbers
        point = {"x": _number(public.x, 32), "y": _number(public.y, 32)}
        return {**said, "kty": "EC", "crv": "P-256", **point, "d": _number(numbers.private_value, 32)}
    made = rsa.generate_private_key(65537, 2048).private_numbers()
    factors = {"p": made.p, "q": made.q, "dp": made.dmp1, "dq": made.dmq1, "qi": made.iqmp, "d": made.d}
    public_part = {"n": made.public_numbers.n, "e": made.public_numbers.e}
    return {**said, "kty": "RSA", **{name: _number(value) for name, value in (factors | public_part).items()}}


@dataclass
class OidcProvider:
    """The server. Change ``keys`` or ``people`` while it is stopped."""

    folder: Path
    modules: Path
    port: int = field(default_factory=free_port)
    algorithm: str = "RS256"
    keys: list[dict[str, Any]] = field(default_factory=list)
    redirect: str = "http://127.0.0.1:1/v1/auth/callback"
    people: dict[str, Any] = field(
        default_factory=lambda: {
            "anne": {"roles": ["Archive.Legal"]},
            "bob": {"roles": ["Archive.Legal", "Archive.Dpo"]},
            "carl": {"roles": ["Something.Else"]},
        }
    )
    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def issuer(self) -> str:
        """As it stands in its tokens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Bring it up, and wait until it answers."""
        if not self.keys:
            self.keys = [new_key(self.algorithm)]
        for name in ("server.mjs", "package.json"):
            shutil.copy(_SERVER / name, self.folder / name)
        if not (self.folder / "node_modules").exists():
            (self.folder / "node_modules").symlink_to(self.modules)
        settings = self.folder / "settings.json"
        settings.write_text(json.dumps(self._settings()), "utf-8")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["node", str(self.folder / "server.mjs"), str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if httpx.get(f"{self.issuer}/.well-known/openid-configuration", trust_env=False).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"oidc-provider did not come up: {self.log()[-2000:]}")

    def stop(self) -> None:
        """Take it away."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)

    def log(self) -> str:
        """What it says of itself."""
        return (self.folder / "log").read_text("utf-8", "replace")

    def robot(self, client: str = "robot") -> str:
        """An access token for a client of its own (client credentials), as the provider makes it."""
        answer = httpx.post(
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials", "resource": AUDIENCE, "scope": "archive"},
            auth=(client, self.secret),
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def _settings(self) -> dict[str, Any]:
        signed = {"id_token_signed_response_alg": self.algorithm}
        robot = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": [], **signed}
        console = {
            "grant_types": ["authorization_code"],
            "redirect_uris": [self.redirect],
            "response_types": ["code"],
            **signed,
            "post_logout_redirect_uris": [],
        }
        clients = [
            {"client_id": "robot", "client_secret": self.secret, **robot},
            {"client_id": "nobody", "client_secret": self.secret, **robot},
            {"client_id": "console", "client_secret": self.secret, **console},
            {"client_id": "public", "token_endpoint_auth_method": "none", **console},
        ]
        return {
            "issuer": self.issuer,
            "port": self.port,
            "keys": self.keys,
            "clients": clients,
            "people": self.people,
            "first": "anne",
            "audience": AUDIENCE,
            "algorithm": self.algorithm,
            "roles_of_clients": {"robot": ["Archive.Auditor"]},
        }


def modules() -> Path | None:
    """Where the provider is installed, or None."""
    places = (_SERVER / "node_modules", _ROOT / ".venv" / "tools" / "oidc-provider" / "node_modules")
    found = next((place for place in places if (place / "oidc-provider").is_dir()), None)
    return found if shutil.which("node") is not None else None


@contextmanager
def running(algorithm: str = "RS256", *, started: bool = True) -> Iterator[OidcProvider]:
    """Bring a provider up, and take it down with all it holds."""
    found = modules()
    if found is None:
        missing("oidc-provider", HOW)
    folder = Path(tempfile.mkdtemp(prefix="oidc-provider-"))
    server = OidcProvider(folder, found, algorithm=algorithm)
    try:
        if started:
            server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def oidc_provider() -> Iterator[OidcProvider]:
    """A provider of a test's own, running."""
    with running() as server:
        yield server


def main() -> None:
    """Bring one up until Ctrl-C."""
    with running() as server:
        print(server.issuer, server.secret, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
