"""What a failure of PostgreSQL means to the archive: by its SQLSTATE, never by the values that were at stake.

Only a refused connection has no SQLSTATE: it is known by libpq's words (English; in another language it reads
"unavailable").
"""

import re

import psycopg

from archive_service.model.errors import StoreDenied, StoreError, StoreFull

READ_ONLY = "25006"
_QUOTED = re.compile(r'"[^"]*"')
_CONFLICTS = ("40001", "40P01")  # serialization_failure, deadlock_detected


class Conflict(StoreError):
    """Rolled back because of another transaction; the same again may succeed."""

    code = "catalog.busy"


def of(error: psycopg.Error, *, gone: bool = False) -> StoreError:
    """Our error for one of psycopg's. ``gone``: the connection was found broken."""
    state = error.sqlstate
    if state is None:
        return _of_connection(str(error), connection=gone or isinstance(error, psycopg.OperationalError))
    if state in _CONFLICTS:
        return Conflict("the database is busy with another transaction")
    for prefix, failure in _BY_STATE:
        if state.startswith(prefix):
            return failure()
    return StoreError(f"the database refused an operation (SQLSTATE {state})", code="catalog.failed")


def _unavailable() -> StoreError:
    return StoreError("the database cannot be reached, or went away", code="catalog.unavailable")


def _busy() -> StoreError:
    return StoreError("the database is busy", code="catalog.busy")


def _full() -> StoreError:
    return StoreFull("the database has no space left")


def _unreadable() -> StoreError:
    return StoreError("the database is damaged; rebuild it", code="catalog.unreadable")


def _read_only() -> StoreError:
    return StoreError("the database is read-only: a standby, or set so", code="catalog.readonly")


def _denied(what: str) -> StoreError:
    return StoreDenied(what, code="catalog.denied")


def _login() -> StoreError:
    return _denied("the database refuses the user or the password")


def _no_database() -> StoreError:
    return _denied("there is no such database")


def _no_right() -> StoreError:
    return _denied("the database user lacks a right")


def _other_name() -> StoreError:
    return _denied("the database's TLS certificate is of another host")


def _not_trusted() -> StoreError:
    return _denied("the database's TLS certificate has expired, or is of an authority that is not trusted")


_BY_STATE = (
    ("08", _unavailable),  # connection exceptions
    ("57P01", _unavailable),  # admin_shutdown
    ("57P02", _unavailable),  # crash_shutdown
    ("57P03", _unavailable),  # cannot_connect_now
    ("57P05", _unavailable),  # idle_session_timeout
    ("25P03", _unavailable),  # idle_in_transaction_session_timeout
    ("57P04", _no_database),  # database_dropped
    ("57014", _busy),  # query_canceled: by the administrator, or a statement_timeout of the role
    ("25006", _read_only),
    ("53100", _full),
    ("53200", _busy),  # out_of_memory
    ("53300", _busy),  # too_many_connections
    ("55P03", _busy),  # lock_not_available
    ("28", _login),
    ("3D000", _no_database),
    ("42501", _no_right),
    ("3F000", _unreadable),  # the schema is gone
    ("42P01", _unreadable),  # a table is gone
    ("42703", _unreadable),  # a column is gone
    ("XX001", _unreadable),  # data_corrupted
    ("XX002", _unreadable),  # index_corrupted
)

_BY_WORDS = (
    ("closed unexpectedly", _unavailable),
    ("closed the connection", _unavailable),
    ("ssl syscall", _unavailable),  # cut within TLS
    ("root certificate file", lambda: _denied("the file of trusted certificate authorities cannot be read")),
    ("no pg_hba.conf entry", lambda: _denied("the database does not admit this user from here, or not so")),
    ("does not match host name", _other_name),
    ("certificate verify failed", _not_trusted),  # OpenSSL tells libpq no more
    ("certificate", lambda: _denied("the database's TLS certificate is not accepted")),
    ("ssl", lambda: _denied("TLS with the database fails: see sslmode, and the certificates")),
    ("authentication failed", _login),
    ("no password supplied", _login),
    ("not permitted to log in", _login),
    ("permission denied for database", _no_right),
    ("too many", _busy),  # clients already; connections for role, for database
    ("connection slots are reserved", _busy),
)


def _of_connection(reason: str, *, connection: bool) -> StoreError:
    """Without SQLSTATE: libpq itself says so, of a connection that cannot be made or broke. What it quotes are names of
    hosts, users and files, which may hold any word."""
    lowered = _QUOTED.sub('""', reason.lower())
    for words, failure in _BY_WORDS:
        if words in lowered:
            return failure()
    if "fatal" in lowered and "does not exist" in lowered:
        return _no_database() if "database" in lowered.split("fatal", 1)[1] else _login()
    if connection:
        return _unavailable()
    return StoreError("the database refused an operation", code="catalog.failed")
