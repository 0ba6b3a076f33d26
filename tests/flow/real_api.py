"""The HTTP API over a real embedded archive, called without a socket; a follower's work is done between calls."""

import asyncio
import time
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from archive_service.access.events import RoleName
from archive_service.access.identity import Identity
from archive_service.access.tokens import TokenIssuer, TokenVerifier
from archive_service.api.services import ApiServices
from archive_service.bootstrap import Core, Tenant, open_core
from archive_service.catching_up import catch_up
from archive_service.serving.api import Tenants
from archive_service.settings import load
from ingest.parser_pool import ParserPool
from tests.flow.archive_fixtures import done
from tests.flow.one_app import app_over


class RealApi(AbstractContextManager["RealApi"]):
    """One archive in a folder, with tenant ``acme``; ``pool`` is the caller's. ``s3``: the settings of an archive in
    buckets stand in the environment, and ``data`` is its work folder."""

    def __init__(self, data: Path, pool: ParserPool, *, s3: bool = False, **settings: Any) -> None:
        self.data = data
        self.where: tuple[object, ...] = () if s3 else ("--data", data)
        if not data.exists():
            done("init", *self.where, "--tenant", "acme", *(("--create-buckets",) if s3 else ()))
        self.settings = load(None, **({} if s3 else {"data": data}), **settings)
        self.core: Core = open_core(self.settings)
        self.pool = pool
        self.tenants = Tenants(self.core)
        services = ApiServices(
            tenants=self.tenants.get,
            bearers=Identity(TokenVerifier(self.tenants.token_key)),
            ready=list,
            clock=self.core.clock,
        )
        self.app = app_over(services)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tenants.close()
        self.core.close()

    @property
    def tenant(self) -> Tenant:
        return self.core.tenant("acme")

    def follow(self) -> None:
        """Every tenant and compartment brought to its head."""
        for tenant in self.core.tenants(0):
            catch_up(self.core, tenant, self.pool)

    def token(self, role: str, subject: str, tenant: Tenant | None = None) -> str:
        chosen = tenant or self.tenant
        issuer = TokenIssuer(chosen.id, chosen.token_key())
        return issuer.issue(subject, RoleName(role), timedelta(hours=1), self.core.clock)

    def later(self) -> None:
        """Tokens from here on are issued in a later second than what came before: their times are whole seconds."""
        now = int(self.core.clock().timestamp())
        while int(self.core.clock().timestamp()) <= now:
            time.sleep(0.01)

    def with_token(self, method: str, path: str, token: str, /, **body: Any) -> httpx.Response:
        """One request of whoever holds the token."""
        headers = {"Authorization": f"Bearer {token}"}
        return asyncio.run(self._call(method, path, headers, {"json": body} if body else {}))

    def call(self, method: str, path: str, role: str, subject: str, /, **body: Any) -> httpx.Response:
        """One request of a person in a role."""
        return self.with_token(method, path, self.token(role, subject), **body)

    def approved(
        self, asked: httpx.Response, role: str = "legal", subject: str = "zoe", where: str = ""
    ) -> Any:
        """What came of a request that another person approves."""
        assert asked.status_code in (201, 202), asked.text
        path = f"/v1/approvals/{asked.json()['id']}/approve{where}"
        answer = self.call("POST", path, role, subject, reason="vu")
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "executed", answer.text
        return answer.json()["result"]

    async def _call(
        self, method: str, path: str, headers: dict[str, str], options: dict[str, Any]
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.app, client=("192.0.2.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://archive") as client:
            return await client.request(method, path, headers=headers, **options)
