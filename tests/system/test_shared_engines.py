"""The real service as in production: S3, PostgreSQL, Elasticsearch, two machines with a follower each; and their bad
days. Mail is answered 250 whatever becomes of catalog and index, and all of it is found once, afterwards."""

import json
import shutil
import signal
from pathlib import Path

from tests.services.s3 import s3_service
from tests.system.engines import Engines, clean, engines, site
from tests.system.machines import Site, mail, start, until

__all__ = ["engines", "s3_service", "site"]  # fixtures
SAMPLES = Path(__file__).resolve().parent.parent / "samples"


def test_s3_postgres_elasticsearch_from_init_to_rebuild(site: Site) -> None:
    one, address, token = start(site)
    one.serve()
    report = (SAMPLES / "m365-recipient.eml").read_bytes()
    assert one.send(address, report) == 250
    for number in range(5):
        assert one.send(address, mail(number)) == 250
    before = one.found(token, "*", 6)
    hit = one.found(token, "subject:numero3", 1)["hits"][0]["id"]
    assert one.http("GET", f"/v1/messages/{hit}/raw", token) == (200, mail(3))
    checks = one.command("doctor")["checks"]
    assert any(name.startswith("catalog ") for name in checks)
    assert any(name.startswith("index ") for name in checks)
    drilled = one.command("rebuild", "--drill")
    assert drilled["same"] is True, drilled
    clean(one, 6)
    one.stop()
    shutil.rmtree(one.work)
    one.command("rebuild", "--afresh")
    clean(one, 6)
    one.serve()
    assert one.found(token, "*", 6)["hits"] == before["hits"]
    one.stop()


def test_a_search_before_any_follower_finds_nothing_and_says_so(site: Site) -> None:
    one, _, token = start(site)
    one.serve("--role", "api")
    status, answer = one.http("POST", "/v1/search", token, {"query": "*"})
    assert (status, json.loads(answer)["total"]) == (200, 0)
    assert one.http("GET", "/health/ready", token)[0] == 200
    one.stop()


def test_s3_postgres_elasticsearch_two_machines_and_one_that_dies(site: Site) -> None:
    one, address, token = start(site)
    two = site.machine("two")
    one.serve()
    two.serve()
    for number in range(6):
        assert (one, two)[number % 2].send(address, mail(number)) == 250
    first = one.found(token, "*", 6)
    assert two.found(token, "*", 6)["hits"] == first["hits"]
    one.kill()
    for number in range(6, 9):
        assert two.send(address, mail(number)) == 250
    two.found(token, "*", 9)
    one.serve()
    assert one.send(address, mail(9)) == 250
    assert two.found(token, "*", 10)["hits"] == one.found(token, "*", 10)["hits"]
    for machine in (one, two):
        machine.stop()
    clean(two, 10)


def test_elasticsearch_that_goes_away_costs_no_mail(site: Site, engines: Engines) -> None:
    one, address, token = start(site)
    one.serve()
    assert one.send(address, mail(0)) == 250
    one.found(token, "*", 1)
    engines.elasticsearch.kill()
    try:
        for number in range(1, 5):
            assert one.send(address, mail(number)) == 250
        status, answer = one.http("POST", "/v1/search", token, {"query": "*"})
        assert (status, json.loads(answer)["code"]) == (503, "index.unavailable")
        code, out, _ = one.run("doctor", "--json")
        assert code == 1 and "index.unavailable" in out
    finally:
        engines.elasticsearch.start()
    assert one.send(address, mail(5)) == 250
    one.found(token, "*", 6)
    one.stop()
    clean(one, 6)


def test_postgres_that_goes_away_costs_no_mail(site: Site, engines: Engines) -> None:
    one, address, token = start(site)
    one.serve()
    assert one.send(address, mail(0)) == 250
    hit = one.found(token, "*", 1)["hits"][0]["id"]
    engines.postgres.kill()
    try:
        for number in range(1, 5):
            assert one.send(address, mail(number)) == 250
        status, answer = one.http("GET", f"/v1/messages/{hit}", token)
        assert (status, json.loads(answer)["code"]) == (503, "catalog.unavailable")
    finally:
        engines.postgres.start()
    assert one.send(address, mail(5)) == 250
    one.found(token, "*", 6)
    one.stop()
    clean(one, 6)


def test_a_service_that_starts_while_both_are_away_takes_mail(site: Site, engines: Engines) -> None:
    one, address, token = start(site)
    engines.elasticsearch.kill()
    engines.postgres.kill()
    try:
        one.serve()
        for number in range(3):
            assert one.send(address, mail(number)) == 250
    finally:
        engines.postgres.start()
        engines.elasticsearch.start()
    one.found(token, "*", 3)
    one.stop()
    clean(one, 3)


def test_wrong_credentials_are_refused_at_the_start_with_clear_words(site: Site, engines: Engines) -> None:
    one, _, _ = start(site)
    one.settings = {**one.settings, "ARCHIVE_CATALOG_URL": engines.postgres.url(password="wrong")}
    code, _, err = one.run("serve", "--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert code == 1 and "catalog.denied" in err and "wrong" not in err.replace("wrong user", "")
    code, out, _ = one.run("doctor", "--json")
    assert code == 1 and "catalog.denied" in out


def test_one_engine_without_the_other_is_wrong_use(site: Site) -> None:
    one, _, _ = start(site)
    one.settings = {name: value for name, value in one.settings.items() if name != "ARCHIVE_INDEX"}
    code, _, err = one.run("rebuild")
    assert code == 2 and "settings.invalid" in err


def test_a_follower_that_is_frozen_is_relieved(site: Site) -> None:
    """SIGSTOP: its database session stands, and so do its leases until they run out; another one takes over."""
    one, address, token = start(site)
    two = site.machine("two")
    one.serve()
    assert one.send(address, mail(0)) == 250
    one.found(token, "*", 1)
    two.serve()
    assert one.process is not None
    one.signal(signal.SIGSTOP)
    try:
        assert two.send(address, mail(1)) == 250
        two.found(token, "*", 2)
    finally:
        one.signal(signal.SIGCONT)
    assert one.send(address, mail(2)) == 250
    until(lambda: one.found(token, "*", 3), one.log)
    for machine in (one, two):
        machine.stop()
    clean(two, 3)
