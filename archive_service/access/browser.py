"""Browsers: a sign-in that begins and ends in the same one, and the session that it leaves there.

A session is a sealed cookie: who, in which roles, until when. Every machine opens it, none keeps it; that somebody has
signed out stands in the acts, so that a copy of the cookie opens nothing anywhere.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from archive_service.access.cookies import SealedCookies
from archive_service.access.events import RoleName
from archive_service.access.identified import Identified
from archive_service.access.sign_in import Begun, SignIn, failed
from archive_service.model.errors import Denied, NotFound

SIGN_IN_SECONDS = 600.0
_BACK = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,500}")


class NoRole(Denied):
    """Somebody signed in at his provider and has no role here. ``subject``: who, for the access log."""

    code = "auth.no_role"

    def __init__(self, subject: str) -> None:
        super().__init__("no role of this archive is held")
        self.subject = subject


@dataclass(frozen=True)
class Session:
    """Somebody who is signed in. ``ends``: seconds since 1970."""

    id: str
    who: Identified
    provider: str
    ends: float


@dataclass(frozen=True)
class Cookie:
    """To be set; without a value, to be removed."""

    name: str
    value: str
    seconds: int


@dataclass
class Browser:
    """Signing in and out. ``public``: the URL that browsers reach the archive by, without a path's end. Thread-safe."""

    public: str
    sign_ins: Mapping[str, SignIn]
    cookies: SealedCookies
    session_seconds: float

    @property
    def secure(self) -> bool:
        """Whether cookies travel over TLS alone: always, but for an archive on loopback."""
        return self.public.startswith("https://")

    @property
    def origin(self) -> str:
        """What browsers send as Origin for requests of our own pages."""
        return "/".join(self.public.split("/")[:3]).lower()

    @property
    def session_name(self) -> str:
        """``__Host-``: no other host of the domain can set it (RFC 6265bis)."""
        return f"{'__Host-' if self.secure else ''}archive_session"

    def begin(self, provider: str | None, back: str) -> tuple[str, Cookie]:
        """Where to go, and what to keep. Raises NotFound for a provider that nobody signs in with, Denied,
        Overloaded."""
        if provider is None and len(self.sign_ins) == 1:
            (provider,) = self.sign_ins
        sign_in = self.sign_ins.get(provider or "")
        if sign_in is None:
            raise NotFound("no such identity provider", code="auth.provider_unknown")
        tenant = sign_in.tokens.tenant()
        if tenant is None:
            raise failed("tenant")
        url, begun = sign_in.begin(back if _BACK.fullmatch(back) else "/")
        value = self.cookies.seal("sign-in", tenant, dict(begun.plain()), SIGN_IN_SECONDS)
        return url, Cookie(self._begun_name(begun.state), value, int(SIGN_IN_SECONDS))

    def begun(self, kept: Mapping[str, str], came: Mapping[str, str]) -> tuple[str, Begun]:
        """The sign-in that this browser began, and its tenant's opaque id. Raises Denied."""
        opened = self.cookies.open("sign-in", kept.get(self._begun_name(came.get("state", "")), ""))
        if opened is None:
            raise failed("state")
        tenant, value = opened
        value.pop("ends")
        return tenant, Begun(**value)

    def finish(self, begun: Begun, came: Mapping[str, str]) -> tuple[Session, tuple[Cookie, Cookie]]:
        """Who signed in, and the cookies to set: his session, and the end of the sign-in. Raises as ``SignIn.finish``,
        and NoRole for somebody who is known and has no role here."""
        sign_in = self.sign_ins.get(begun.provider)
        if sign_in is None:
            raise failed("provider")
        who = sign_in.finish(begun, came)
        if not who.roles:
            raise NoRole(who.subject)
        name = secrets.token_hex(16)
        now = self.cookies.clock().timestamp()
        value = {
            "id": name,
            "begun": now,
            "subject": who.subject,
            "roles": sorted(who.roles),
            "provider": begun.provider,
        }
        sealed = self.cookies.seal("session", who.tenant, value, self.session_seconds)
        kept = Cookie(self.session_name, sealed, int(self.session_seconds))
        return Session(name, who, begun.provider, now + self.session_seconds), (kept, self.gone(begun))

    def gone(self, begun: Begun) -> Cookie:
        """The sign-in's cookie is of no more use."""
        return Cookie(self._begun_name(begun.state), "", 0)

    def session(self, kept: Mapping[str, str]) -> Session | None:
        """The session of a browser, or None: none, not ours, over by its end or by the settings of now, or of a
        provider that they know no more. When it began stands in it: an incident voids it by that. Whether it was signed
        out the acts say."""
        opened = self.cookies.open("session", kept.get(self.session_name, ""))
        if opened is None:
            return None
        tenant, value = opened
        if value["provider"] not in self.sign_ins:
            return None
        begun = value.get("begun", 0.0)  # one of a release that did not say it is over
        ends = min(value["ends"], begun + self.session_seconds)
        if self.cookies.clock().timestamp() >= ends:
            return None
        roles = frozenset(map(RoleName, value["roles"]))
        who = Identified(value["subject"], tenant, roles, issued_at=begun, session=value["id"])
        return Session(value["id"], who, value["provider"], ends)

    def end(self, session: Session) -> tuple[Cookie, str | None]:
        """Sign out: the cookie's end, and where the provider's own session is ended."""
        leaving = self.sign_ins[session.provider].leaving(f"{self.public}/")
        return Cookie(self.session_name, "", 0), leaving

    def _begun_name(self, state: str) -> str:
        """One for each sign-in, for two may be under way in two tabs."""
        short = re.sub(r"[^A-Za-z0-9_-]", "", state)[:12]
        return f"{'__Host-' if self.secure else ''}archive_sign_in_{short}"
