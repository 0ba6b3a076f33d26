"""Signing in with a browser at one provider: authorisation code (RFC 6749 section 4.1) with PKCE (RFC 7636, S256
alone), state and nonce. The browser carries a code and never a token."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from archive_service.access import compact
from archive_service.access.identified import Identified
from archive_service.access.oidc_source import Web
from archive_service.access.oidc_tokens import OidcTokens
from archive_service.model.errors import ArchiveError, Denied


@dataclass(frozen=True)
class Begun:
    """A sign-in under way; it is kept by the browser that began it, sealed."""

    provider: str
    state: str
    nonce: str
    verifier: str
    back: str

    def plain(self) -> dict[str, str]:
        """JSON-ready."""
        return vars(self).copy()


class SignIn:
    """Signing in at one provider. ``redirect``: our callback, as the provider knows it. ``secret``: None for a public
    client. Thread-safe."""

    def __init__(self, tokens: OidcTokens, web: Web, redirect: str, secret: str | None) -> None:
        self.tokens = tokens
        self._web = web
        self._redirect = redirect
        self._secret = secret

    def begin(self, back: str) -> tuple[str, Begun]:
        """Where the browser goes, and what it keeps until it comes back. Raises Overloaded, Invalid."""
        provider = self.tokens.provider
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        begun = Begun(provider.name, state, nonce, verifier, back)
        challenge = hashlib.sha256(begun.verifier.encode("ascii")).digest()
        asked = {
            "response_type": "code",
            "client_id": provider.client,
            "redirect_uri": self._redirect,
            "scope": " ".join(provider.scopes),
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        endpoint = self.tokens.source.known().endpoint("authorization_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}", begun

    def finish(self, begun: Begun, came: Mapping[str, str]) -> Identified:
        """Who came back. Raises Denied (``auth.sign_in.state``, ``.issuer``, ``.refused``, ``.exchange``,
        ``auth.required`` for an ID token that is not good), Overloaded, StoreError."""
        if not hmac.compare_digest(came.get("state", "").encode(), begun.state.encode()):
            raise failed("state")
        known = self.tokens.source.known()
        required = known.document.get("authorization_response_iss_parameter_supported") is True
        if came.get("iss", None if required else self.tokens.issuer) != self.tokens.issuer:
            raise failed("issuer")  # RFC 9207 section 2.4
        if "error" in came or not came.get("code"):
            raise failed("refused")
        answer = self._exchange(known.endpoint("token_endpoint"), came["code"], begun.verifier)
        id_token, access_token = answer.get("id_token"), answer.get("access_token")
        if not isinstance(id_token, str):
            raise failed("exchange")
        claims = self.tokens.signed_in(id_token, begun.nonce)
        return self.tokens.person(claims, access_token if isinstance(access_token, str) else None)

    def leaving(self, back: str) -> str | None:
        """Where a browser ends its session with the provider too (OpenID Connect RP-Initiated Logout 1.0), if there is
        such a place. No token stands in it."""
        try:
            endpoint = self.tokens.source.known().endpoint("end_session_endpoint")
        except ArchiveError:
            return None
        asked = {"client_id": str(self.tokens.provider.client), "post_logout_redirect_uri": back}
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    def _exchange(self, endpoint: str, code: str, verifier: str) -> dict[str, Any]:
        """RFC 6749 section 4.1.3."""
        provider = self.tokens.provider
        client = str(provider.client)
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect,
            "code_verifier": verifier,
        }
        headers: dict[str, str] = {}
        if self._secret is None or provider.client_authentication == "client_secret_post":
            fields["client_id"] = client
            fields |= {} if self._secret is None else {"client_secret": self._secret}
        else:  # RFC 6749 section 2.3.1: both are form-encoded first
            pair = f"{quote(client, safe='')}:{quote(self._secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode('ascii')).decode()}"
        answer = self._web.post(endpoint, fields, headers)
        if answer.status != 200:
            raise failed("exchange")
        try:
            return compact.json_object(answer.body)
        except ValueError as error:
            raise failed("exchange") from error


def failed(why: str) -> Denied:
    """``auth.sign_in.WHY``."""
    return Denied("signing in did not succeed; begin again", code=f"auth.sign_in.{why}")
