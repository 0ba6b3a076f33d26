"""What libpq's words and SQLSTATEs mean to the archive; the real ones are raised in ``test_catalog_bad_days``."""

import psycopg
import pytest

from archive_service.catalog import failures
from archive_service.model.errors import StoreDenied, StoreError, StoreFull

TO = 'connection to server at "db.example" (10.0.0.1), port 5432 failed: '

WORDS = [
    (TO + "Connection refused", "catalog.unavailable"),
    (
        'connection to server at "ssl-certificate.example", port 5432 failed: timeout expired',
        "catalog.unavailable",
    ),
    ('could not translate host name "too many" to address: Name or service not known', "catalog.unavailable"),
    (TO + "FATAL:  the database system is starting up", "catalog.unavailable"),
    (TO + "FATAL:  le système est en cours d'arrêt", "catalog.unavailable"),
    ("consuming input failed: SSL SYSCALL error: EOF detected", "catalog.unavailable"),
    ("consuming input failed: SSL connection has been closed unexpectedly", "catalog.unavailable"),
    ("the connection is closed", "catalog.unavailable"),
    (TO + 'FATAL:  password authentication failed for user "geheim"', "catalog.denied"),
    (TO + "fe_sendauth: no password supplied", "catalog.denied"),
    (TO + 'FATAL:  role "geheim" does not exist', "catalog.denied"),
    (TO + 'FATAL:  database "geheim" does not exist', "catalog.denied"),
    (TO + 'FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "geheim", SSL off', "catalog.denied"),
    (TO + "server does not support SSL, but SSL was required", "catalog.denied"),
    (TO + "SSL error: certificate verify failed", "catalog.denied"),
    (TO + "FATAL:  sorry, too many clients already", "catalog.busy"),
    (TO + "FATAL:  remaining connection slots are reserved for superuser connections", "catalog.busy"),
]


@pytest.mark.parametrize(("words", "code"), WORDS)
def test_postgres_a_connection_that_cannot_be_made(words, code):
    failure = failures.of(psycopg.OperationalError(words))
    assert failure.code == code
    assert isinstance(failure, StoreDenied) == (code == "catalog.denied")
    assert "geheim" not in str(failure) and "example" not in str(failure)


STATES = [
    ("57P01", StoreError, "catalog.unavailable"),
    ("25P03", StoreError, "catalog.unavailable"),
    ("57P04", StoreDenied, "catalog.denied"),
    ("57014", StoreError, "catalog.busy"),
    ("53200", StoreError, "catalog.busy"),
    ("25006", StoreError, "catalog.readonly"),
    ("53100", StoreFull, "store.full"),
    ("40P01", failures.Conflict, "catalog.busy"),
    ("40001", failures.Conflict, "catalog.busy"),
    ("55P03", StoreError, "catalog.busy"),
    ("28P01", StoreDenied, "catalog.denied"),
    ("42501", StoreDenied, "catalog.denied"),
    ("42P01", StoreError, "catalog.unreadable"),
    ("XX001", StoreError, "catalog.unreadable"),
    ("23505", StoreError, "catalog.failed"),
]


@pytest.mark.parametrize(("state", "kind", "code"), STATES)
def test_postgres_a_statement_that_failed(state, kind, code):
    failure = failures.of(psycopg.errors.lookup(state)("Key (id)=(geheim) already exists"))
    assert (type(failure), failure.code) == (kind, code)
    assert "geheim" not in str(failure)
