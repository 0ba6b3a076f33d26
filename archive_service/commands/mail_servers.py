"""Options of a command that reads a mailbox on a server."""

import argparse
import os
from pathlib import Path
from typing import Any

from archive_service.model.errors import Invalid
from ingest.importers.server import Server, Tls

_TLS_PORTS = {"imap": 993, "pop3": 995}
_PORTS = {"imap": 143, "pop3": 110}


def on_server(one: Any, *, required: bool = True) -> None:
    """Options of a mailbox on a server. A secret is never one: every user of the machine could read it."""
    one.add_argument("--host", required=required, metavar="HOST")
    one.add_argument("--port", type=int, metavar="N", help="the protocol's own unless given")
    one.add_argument("--user", required=required, metavar="USER")
    secret = one.add_mutually_exclusive_group(required=required)
    secret.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password")
    secret.add_argument("--password-env", metavar="NAME", help="the environment variable with the password")
    secret.add_argument("--token-file", type=Path, metavar="FILE", help="OAuth 2.0 access token, for XOAUTH2")
    secret.add_argument("--token-env", metavar="NAME", help="the environment variable with such a token")
    one.add_argument("--tls", default="implicit", choices=[str(tls) for tls in Tls])
    one.add_argument(
        "--ca", type=Path, metavar="FILE", help="PEM of the authorities trusted; the system's unless given"
    )


def server_of(given: argparse.Namespace, protocol: str) -> Server:
    """Raises Invalid."""
    tls = Tls(given.tls)
    port = given.port or (_TLS_PORTS if tls is Tls.IMPLICIT else _PORTS)[protocol]
    token = given.token_file is not None or given.token_env is not None
    return Server(given.host, port, given.user, _secret(given), token=token, tls=tls, ca=given.ca)


def _secret(given: argparse.Namespace) -> str:
    """Raises Invalid when it is not where it was said to be."""
    variable, path = given.password_env or given.token_env, given.password_file or given.token_file
    try:
        text = path.read_text("utf-8") if path is not None else os.environ.get(variable, "")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid("the file of the secret cannot be read", code="import.secret") from error
    secret: str = text.partition("\n")[0].removesuffix("\r")
    if not secret:
        raise Invalid("there is no secret in the file or variable named", code="import.secret")
    return secret
