"""PostgreSQL on bad days: killed, shut down, failed over, full, refusing; each way an error with a clear code, and on
good days again without a restart of ours."""

import os
import shutil
import subprocess
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import event

from archive_service.catalog.base import Job
from archive_service.catalog.jobs import SqlJobs
from archive_service.catalog.schemas import Schemas
from archive_service.catalog.sql import SqlCatalog
from archive_service.model.errors import StoreDenied, StoreError, StoreFull
from tests.services.postgres import PostgresServer, needed_programs, new_owner, own_postgres, running
from tests.services.tools import free_port
from tests.unit.test_catalog_postgres import capture, changes

__all__ = ["own_postgres"]

ONE = changes(capture(0, "m1"), rows=1)
TWO = changes(capture(1, "m1", subject="geheim"), capture(2, "m2"), rows=3, took={"log-a": 3})


@pytest.fixture
def owner():
    return new_owner()


@pytest.fixture
def catalog(own_postgres, owner):
    catalog = SqlCatalog.postgres(own_postgres.url(), owner, connections=4)
    catalog.apply(ONE)
    yield catalog
    catalog.close()


def applied_once(server, *stretches):
    """What the stretches give when nothing goes wrong."""
    catalog = SqlCatalog.postgres(server.url(), new_owner(), connections=2)
    for stretch in stretches:
        catalog.apply(stretch)
    rows = list(catalog.dump())
    catalog.close()
    return rows


def refused(call, *given, **more):
    with pytest.raises(StoreError) as caught:
        call(*given, **more)
    assert "geheim" not in "".join(traceback.format_exception(caught.value))
    return caught.value.code


def test_postgres_killed_in_mid_apply_and_not_persisted(own_postgres, catalog):
    def kill(connection, cursor, statement, *more):
        if statement.startswith("UPDATE") and "position" in statement:  # the last before the commit
            own_postgres.kill()

    event.listen(catalog._database._pool.engine, "before_cursor_execute", kill)
    assert refused(catalog.apply, TWO) == "catalog.unavailable"
    event.remove(catalog._database._pool.engine, "before_cursor_execute", kill)
    own_postgres.start()
    assert catalog.position().rows == 1
    assert [row.version for row in catalog.messages(["m1", "m2"])] == [0]
    catalog.apply(TWO)
    assert list(catalog.dump()) == applied_once(own_postgres, ONE, TWO)


def test_postgres_killed_in_mid_apply_but_persisted(own_postgres, catalog):
    def kill(connection):
        # Committed, and the answer never came: the driver still believes itself in a transaction.
        connection.connection.dbapi_connection.pgconn.exec_(b"COMMIT; BEGIN")
        own_postgres.kill()

    event.listen(catalog._database._pool.engine, "commit", kill)
    assert refused(catalog.apply, TWO) == "catalog.unavailable"
    event.remove(catalog._database._pool.engine, "commit", kill)
    own_postgres.start()
    assert catalog.position().rows == 3
    catalog.apply(TWO)
    assert list(catalog.dump()) == applied_once(own_postgres, ONE, TWO)


def test_postgres_jobs_of_a_killed_server_stand(own_postgres, owner):
    jobs = SqlJobs.postgres(own_postgres.url(), owner, connections=2)
    jobs.add(Job(id="j1", kind="k", actor="a", request={}))
    claimed = jobs.claim(["k"])
    own_postgres.kill()
    assert refused(jobs.update, claimed) == "catalog.unavailable"
    assert refused(jobs.claim, ["k"]) == "catalog.unavailable"
    own_postgres.start()
    jobs.update(replace(claimed, done=1))
    assert jobs.get("j1").done == 1
    jobs.close()


def test_postgres_gone_and_back_without_a_restart_of_ours(own_postgres, catalog, owner):
    dumping = catalog.dump()
    next(dumping)
    own_postgres.stop()
    with pytest.raises(StoreError) as caught:
        list(dumping)
    assert caught.value.code == "catalog.unavailable"
    for call in (
        catalog.position,
        catalog.counts,
        lambda: catalog.apply(TWO),
        lambda: catalog.messages(["m1"]),
    ):
        assert refused(call) == "catalog.unavailable"
    assert refused(SqlCatalog.postgres, own_postgres.url(), owner, connections=4) == "catalog.unavailable"
    own_postgres.start()
    assert catalog.position().rows == 1
    catalog.apply(TWO)
    assert catalog.position().rows == 3


def test_postgres_sessions_that_the_administrator_ended_are_replaced_unseen(own_postgres, catalog):
    own_postgres.run(
        "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE application_name = 'archive-service'"
    )
    assert catalog.position().rows == 1


def test_postgres_a_swap_whose_answer_was_lost_finds_out(own_postgres, catalog, owner):
    beside = SqlCatalog.postgres(own_postgres.url(), owner, connections=4, beside="next")
    beside.apply(TWO)
    beside.close()
    schemas = Schemas(own_postgres.url(), connections=4)

    def kill(connection):
        connection.connection.dbapi_connection.pgconn.exec_(b"COMMIT; BEGIN")
        own_postgres.kill()

    event.listen(schemas._database._pool.engine, "commit", kill)
    assert refused(schemas.adopt, owner, "next") == "catalog.unavailable"
    event.remove(schemas._database._pool.engine, "commit", kill)
    own_postgres.start()
    schemas.adopt(owner, "next")
    assert catalog.position().rows == 3
    assert refused(schemas.adopt, owner, "next") == "catalog.nothing_beside"
    schemas.close()


# --- fail-over


def test_postgres_a_read_only_server_serves_readers_and_says_so_to_writers(own_postgres, catalog, owner):
    usual = own_postgres.options
    own_postgres.stop()
    own_postgres.options = (*usual, "-c", "default_transaction_read_only=on")
    try:
        own_postgres.start()
        again = SqlCatalog.postgres(own_postgres.url(), owner, connections=4)
        assert again.position().rows == 1
        assert [row.id for row in again.messages(["m1"])] == ["m1"]
        again.close()
        assert refused(catalog.apply, TWO) == "catalog.readonly"
        assert refused(catalog.indexed, 1) == "catalog.readonly"
        new = refused(SqlCatalog.postgres, own_postgres.url(), new_owner(), connections=4)
        assert new == "catalog.readonly"
    finally:
        own_postgres.stop()
        own_postgres.options = usual
        own_postgres.start()
    catalog.apply(TWO)
    assert catalog.position().rows == 3


def test_postgres_a_session_with_what_became_a_standby_is_not_used_again(own_postgres, catalog):
    """New sessions are read-only, then no longer; an old one would stay so for ever."""
    catalog._database._pool.engine.dispose()
    own_postgres.run("ALTER DATABASE postgres SET default_transaction_read_only = on")
    assert refused(catalog.apply, TWO) == "catalog.readonly"
    own_postgres.run("ALTER DATABASE postgres RESET ALL")
    catalog.apply(TWO)
    assert catalog.position().rows == 3


def test_postgres_a_promoted_standby_goes_on():
    """A real standby, synchronous; the URL names both. The first is killed, the second promoted."""
    with running(needed_programs()) as primary:
        primary.run("ALTER SYSTEM SET wal_level = 'replica'")
        standby = standby_of(primary)
        try:
            primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.run("SELECT pg_reload_conf()")
            both = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
            url = primary.url(more="?target_session_attrs=read-write").replace(
                f"127.0.0.1:{primary.port}", both
            )
            owner = new_owner()
            catalog = SqlCatalog.postgres(url, owner, connections=4)
            catalog.apply(ONE)
            reader = SqlCatalog.postgres(standby.url(), owner, connections=2)
            assert refused(reader.apply, TWO) == "catalog.readonly"
            assert reader.messages(["m1"])[0].captures == ONE.captures
            primary.kill()
            assert refused(catalog.apply, TWO) == "catalog.unavailable"
            standby.run("SELECT pg_promote(true, 60)")
            catalog.apply(TWO)
            reader.indexed(3)
            assert (catalog.position().rows, catalog.position().indexed) == (3, 3)
            catalog.close()
            reader.close()
        finally:
            standby.stop()
            shutil.rmtree(standby.folder, ignore_errors=True)


def standby_of(primary: PostgresServer) -> PostgresServer:
    """A hot standby beside it, following."""
    folder = primary.folder.with_name(f"{primary.folder.name}-standby")
    folder.mkdir(mode=0o700)
    port = free_port()
    options = tuple(str(port) if each == str(primary.port) else each for each in primary.options)
    standby = PostgresServer(primary.programs, folder, port, primary.password, options)
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
    subprocess.run(
        [
            str(primary.programs / "pg_basebackup"),
            "-D",
            str(folder / "data"),
            "-R",
            "-c",
            "fast",
            "-d",
            primary.url(),
        ],
        check=True,
        cwd="/",
        capture_output=True,
        **({"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}),
    )
    standby.start()
    return standby


# --- refusals


def test_postgres_a_full_disk_is_full(own_postgres, catalog):
    """The server itself says so: its own error, raised where a row is written."""
    schema = catalog._database.schema
    own_postgres.run(
        f"CREATE FUNCTION {schema}.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
        " USING ERRCODE = 'disk_full', MESSAGE = 'could not extend file: geheim'; END $$"
    )
    own_postgres.run(
        f"CREATE TRIGGER full_disk BEFORE INSERT ON {schema}.captures EXECUTE FUNCTION {schema}.full()"
    )
    with pytest.raises(StoreFull) as caught:
        catalog.apply(TWO)
    assert "geheim" not in str(caught.value)
    own_postgres.run(f"DROP TRIGGER full_disk ON {schema}.captures")
    assert catalog.position().rows == 1
    catalog.apply(TWO)


def test_postgres_errors_show_no_values(own_postgres, catalog):
    twice = changes(capture(1, "geheim", name="c8"), capture(1, "geheim2", name="c9"), rows=2)
    assert refused(catalog.apply, twice) == "catalog.failed"


def test_postgres_a_schema_that_was_dropped_is_to_be_rebuilt(own_postgres, catalog):
    own_postgres.run(f"DROP SCHEMA {catalog._database.schema} CASCADE")
    assert refused(catalog.position) == "catalog.unreadable"
    assert refused(catalog.apply, TWO) == "catalog.unreadable"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(lambda server: server.url(password="geheim"), id="password"),
        pytest.param(lambda server: server.url("geheim"), id="database"),
        pytest.param(lambda server: server.url().replace("archive:", "geheim:"), id="user"),
        pytest.param(lambda server: server.url(more="?sslmode=require"), id="no-tls"),
    ],
)
def test_postgres_a_wrong_way_in_is_denied_in_clear_words(own_postgres, owner, url):
    with pytest.raises(StoreDenied) as caught:
        SqlCatalog.postgres(url(own_postgres), owner, connections=2)
    assert caught.value.code == "catalog.denied"
    assert "geheim" not in "".join(traceback.format_exception(caught.value))
    assert own_postgres.password not in str(caught.value)


def test_postgres_a_host_that_is_not_there_is_unavailable(owner):
    url = f"postgresql://archive:geheim@127.0.0.1:{free_port()}/archive"
    assert refused(SqlCatalog.postgres, url, owner, connections=2) == "catalog.unavailable"


def test_postgres_a_user_needs_nothing_but_its_schemas(own_postgres, owner):
    own_postgres.run(f"CREATE ROLE u{owner} LOGIN PASSWORD 'weak' CONNECTION LIMIT 1")
    url = own_postgres.url(password="weak").replace("archive:", f"u{owner}:")
    own_postgres.run("REVOKE CREATE ON DATABASE postgres FROM PUBLIC")
    assert refused(SqlCatalog.postgres, url, owner, connections=1) == "catalog.denied"
    own_postgres.run(f"CREATE SCHEMA archive_{owner} AUTHORIZATION u{owner}")
    catalog = SqlCatalog.postgres(url, owner, connections=1)
    catalog.apply(ONE)
    assert (
        refused(SqlCatalog.postgres, url, owner, connections=2) == "catalog.busy"
    )  # a second pool, one too many
    catalog.close()


# --- TLS


def certificates(folder: Path, *, days: int, server: str = "localhost") -> Path:
    """``ca.pem`` and a server's ``server.crt`` and ``server.key``, valid until so many days from now."""
    now = datetime.now(UTC)
    folder.mkdir()
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server")}
    names = {
        name: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, value)])
        for name, value in (("ca", f"authority of {folder.name}"), ("server", server))
    }
    for name in ("ca", "server"):
        built = (
            x509.CertificateBuilder()
            .subject_name(names[name])
            .issuer_name(names["ca"])
            .public_key(keys[name].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days if name == "server" else 30))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
        )
        if name == "server":
            alternative = x509.SubjectAlternativeName([x509.DNSName(server)])
            built = built.add_extension(alternative, critical=False)
        signed = built.sign(keys["ca"], hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key = keys["server"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(key)
    (folder / "server.key").chmod(0o600)
    return folder


def install(server: PostgresServer, folder: Path) -> None:
    """These certificates into a running server."""
    for name in ("server.crt", "server.key"):
        shutil.copy(folder / name, server.folder / "data" / name)
        (server.folder / "data" / name).chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(server.folder / "data" / name, "nobody", "nogroup")
    server.stop()
    if "ssl=on" not in server.options:
        server.options = (*server.options, "-c", "ssl=on")
    server.start()


def test_postgres_tls_is_verified_and_its_refusals_are_clear(own_postgres, owner, tmp_path):
    good, expired = certificates(tmp_path / "good", days=9), certificates(tmp_path / "expired", days=-1)
    usual = own_postgres.options

    def opened(ca: Path, mode: str = "verify-full") -> None:
        url = own_postgres.url(more=f"?sslmode={mode}&sslrootcert={ca}").replace("127.0.0.1", "localhost")
        SqlCatalog.postgres(url, owner, connections=1).close()

    try:
        install(own_postgres, good)
        opened(good / "ca.crt")
        for ca, words in ((expired / "ca.crt", "not trusted"), (tmp_path / "none.crt", "authorities")):
            with pytest.raises(StoreDenied, match=words):
                opened(ca)
        install(own_postgres, expired)
        with pytest.raises(StoreDenied, match="expired"):
            opened(expired / "ca.crt")
        install(own_postgres, certificates(tmp_path / "other", days=9, server="db.example"))
        with pytest.raises(StoreDenied, match="another host"):
            opened(tmp_path / "other" / "ca.crt")
        opened(tmp_path / "other" / "ca.crt", "verify-ca")
    finally:
        own_postgres.stop()
        own_postgres.options = usual
        own_postgres.start()
