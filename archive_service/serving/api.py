"""The api role: the HTTP API in one process, with its own access log slot in every tenant it answers for."""

import logging
import socket
import threading

import uvicorn

from archive_service.access.events import AccessLog
from archive_service.alarms import names
from archive_service.alarms.tally import Tally
from archive_service.api.app import create_app
from archive_service.api.rates import ActorRates
from archive_service.api.services import ApiServices, TenantServices
from archive_service.api.strangers import Strangers
from archive_service.bootstrap import Core, open_core
from archive_service.model.errors import ArchiveError
from archive_service.serving import child
from archive_service.serving.identities import TenantsHere, browser_of, identity_of, oidc_of
from archive_service.serving.patience import patient
from archive_service.serving.supervisor import share
from archive_service.settings import Settings, host_port
from archive_service.tenant_services import OpenTenant, open_tenant
from archive_service.vault.key_layout import is_owner
from archive_service.web import HttpWeb
from search.query_language import Everything

_log = logging.getLogger(__name__)
_MINUTE = 60.0


class Tenants:
    """The tenants that this process answers for. Thread-safe."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._open: dict[str, OpenTenant] = {}
        self._lock = threading.Lock()

    def get(self, owner: str) -> TenantServices | None:
        """A tenant's services, or None."""
        with self._lock:
            if owner not in self._open:
                found = self._core.tenant_of(owner)
                if found is None:
                    return None
                self._open[owner] = open_tenant(self._core, found)
            return self._open[owner].services

    def token_key(self, owner: str) -> bytes | None:
        """The public key of a tenant's tokens, or None."""
        if not is_owner(owner):
            return None
        with self._lock:
            found = self._core.tenant_of(owner)
        return found.token_public_key() if found is not None else None

    def secret(self, owner: str) -> bytes | None:
        """What a tenant's cookies are sealed under keys of, or None."""
        if not is_owner(owner):
            return None
        with self._lock:
            found = self._core.tenant_of(owner)
        return found.keyring.secret("token") if found is not None else None

    def named(self, name: str) -> str | None:
        """The opaque id of the tenant of a name, or None."""
        with self._lock:
            return next((tenant.id for tenant in self._core.tenants() if tenant.name == name), None)

    def ready(self) -> list[str]:
        """What keeps the service from answering."""
        try:
            for tenant in self._core.tenants():
                services = self.get(tenant.id)
                if services is not None:
                    services.catalog.position()
                    services.index.search(Everything(), limit=1, snippets=False)
        except ArchiveError as error:
            return [error.code]
        return []

    def close(self) -> None:
        """Finish the access logs."""
        for opened in self._open.values():
            opened.close()


class _Minutes(threading.Thread):
    """Takes the sums of who was turned away to the access logs, each minute and at the end."""

    def __init__(self, strangers: Strangers, tenants: Tenants) -> None:
        super().__init__(name="turned-away", daemon=True)
        self._strangers = strangers
        self._tenants = tenants
        self._over = threading.Event()

    def run(self) -> None:
        """Until ``end``."""
        while not self._over.wait(_MINUTE):
            self._write()
        self._write()

    def end(self) -> None:
        """Once more, and no more."""
        self._over.set()
        self.join()

    def _write(self) -> None:
        self._strangers.write(self._log_of)

    def _log_of(self, owner: str) -> AccessLog | None:
        found = self._tenants.get(owner)
        return found.access_log if found is not None else None


class _Server(uvicorn.Server):
    """Says when it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            child.say_ready()


def run(settings: Settings, tally: Tally) -> None:
    """Serve until SIGTERM, then finish what is being answered. Requests are counted by the API's own ``/metrics``;
    ``tally`` counts what was read and is damaged."""
    core = open_core(settings)
    tenants = Tenants(core)
    here = TenantsHere(tenants.token_key, tenants.named, tenants.get)
    web = HttpWeb(settings.oidc_ca_bundle)
    oidc = oidc_of(settings, web, here, core.clock)
    services = ApiServices(
        tenants=tenants.get,
        bearers=identity_of(settings, oidc, here, core.clock),
        ready=tenants.ready,
        browser=browser_of(settings, oidc, web, tenants.secret, core.clock),
        clock=core.clock,
        rates=ActorRates(settings.api_rate),
        patience=settings.api_patience,
        damaged=lambda code: tally.add(names.FAILURES, code=code),
    )
    minutes = _Minutes(services.strangers, tenants)
    minutes.start()
    listening = share(*host_port(settings.http, "http"))
    config = uvicorn.Config(
        create_app(services),
        http=patient(settings.api_patience),
        limit_concurrency=settings.api_connections,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=30,
    )
    child.on_stop(
        lambda: None
    )  # the server raises the signal again when it has stopped, and the rest is to run
    try:
        _Server(config).run(sockets=[listening])
    finally:
        minutes.end()
        tenants.close()
        core.close()
