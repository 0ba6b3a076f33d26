"""The follower end to end, from sealed objects to a catalog and an index that can be searched, beside its peers.

    python -m bench.follow [--mails 3000] [--size 40000] [--rounds 3] [--workers 1,2,3,4]
                           [--only notmuch,workers,elasticsearch]

Ours: open and check each sealed mail, unwrap and parse it in worker processes, append its sealed finding to the order
log, write its rows and its document; all durable. What is followed is a copy of one archive, fresh in every round.

Peers, in turn with it: ``notmuch new`` over the same mails as files of a Maildir; one parse worker; and the client's
own bulk helper with the very documents that ours put into Elasticsearch, into indexes of the same mapping.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk, scan
from psycopg.sql import SQL, Identifier

from archive_service.bootstrap import Core, add_source, make_archive, make_tenant, open_core
from archive_service.following import make_follower, parser_pool
from archive_service.ledger.capture_writer import CaptureDraft, CaptureWriter
from archive_service.model.clock import rfc3339
from archive_service.model.mail import CaptureRecord, SourceKind
from archive_service.settings import Settings
from archive_service.vault.stores.base import Lock, LockMode
from bench import machine
from bench.figures import Figure, line
from bench.mails import Mails
from bench.processes import BenchError
from search.indexes.elasticsearch import mapping
from tests.services import elasticsearch, postgres

DURABLE = "order log, catalog and index, synced to disk; notmuch and bare bulk: as they are"
_IN_FLIGHT = 200


def fill(data: Path, mails: list[bytes]) -> None:
    """An archive with these mails in it, and nothing followed."""
    core = open_core(Settings(data=data), create=True)
    try:
        make_archive(core)
        tenant = make_tenant(core, "bench")
        source, _ = add_source(tenant, "feed", SourceKind.GENERIC, "bench.example.org")
        slots = core.slots(tenant.id, "capture")
        writer = CaptureWriter(core.store, tenant.keyring, slots, core.clock, core.writer_limits)
        waiting = []
        for mail in mails:
            now = core.clock()
            record = CaptureRecord(
                capture="",
                source=source.id,
                received_at=rfc3339(now),
                mail_from="anne@example.org",
                rcpt_to=("bob@example.com",),
            )
            lock = Lock(LockMode(source.lock_mode), now + timedelta(days=source.intake_days))
            waiting.append(writer.submit(CaptureDraft(record, lock, tenant.acts.seen), mail))
            if len(waiting) >= _IN_FLIGHT:
                waiting.pop(0).result()
        for each in waiting:
            each.result()
        writer.close()
    finally:
        core.close()


@contextmanager
def opened(settings: Settings) -> Iterator[Core]:
    """The archive of these settings."""
    core = open_core(settings)
    try:
        yield core
    finally:
        core.close()


def followed(settings: Settings, count: int, workers: int) -> float:
    """Seconds from the first look to the last document. Raises BenchError unless all are there."""
    with opened(settings) as core, parser_pool(core.settings, workers) as pool:
        tenant = core.tenant("bench")
        follower = make_follower(core, tenant, pool)
        began = time.perf_counter()
        while follower.follow():
            continue
        taken = time.perf_counter() - began
        live = core.engines.live(tenant.id)
        held = live.held()
        live.close()
        if held != count:
            raise BenchError(f"{held} of {count} messages are in the index")
        return taken


def ours(base: Path, count: int, workers: int, **more: Any) -> float:
    """Messages a second over a copy of an archive."""
    with tempfile.TemporaryDirectory(
        prefix="bench-follow-", dir=base.parent, ignore_cleanup_errors=True
    ) as folder:
        data = Path(folder) / "data"
        shutil.copytree(base, data)
        return count / followed(Settings(data=data, **more), count, workers)


def notmuch(base: Path, mails: list[bytes]) -> float:
    """Messages a second of ``notmuch new``."""
    with tempfile.TemporaryDirectory(prefix="bench-notmuch-", dir=base.parent) as folder:
        root = Path(folder)
        for name in ("new", "cur", "tmp"):
            (root / "mail" / name).mkdir(parents=True)
        for number, mail in enumerate(mails):
            (root / "mail" / "cur" / f"{number}.bench:2,S").write_bytes(mail.replace(b"\r\n", b"\n"))
        config = root / "config"
        config.write_text(
            f"[database]\npath={root / 'mail'}\n[user]\nname=Bench\nprimary_email=bench@example.org\n"
        )
        began = time.perf_counter()
        subprocess.run(
            ["notmuch", f"--config={config}", "new", "--quiet"], check=True, capture_output=True, text=True
        )
        taken = time.perf_counter() - began
        counted = subprocess.run(
            ["notmuch", f"--config={config}", "count"], check=True, capture_output=True, text=True
        ).stdout
        if int(counted) != len(mails):
            raise BenchError(f"notmuch has {counted.strip()} of {len(mails)} messages")
        return len(mails) / taken


def bare_bulk(url: str, prefix: str, count: int) -> float:
    """Documents a second of the client's bulk helper, with the sources that stand under a prefix."""
    with Elasticsearch(url, request_timeout=120) as client:
        sources = [
            (f"bare-{hit['_source']['month']}", hit["_id"], hit["_source"])
            for hit in scan(client, index=f"{prefix}.*", size=500)
        ]
        if len(sources) != count:
            raise BenchError(f"{len(sources)} of {count} documents stand in Elasticsearch")
        for name in {index for index, _, _ in sources}:
            client.options(ignore_status=404).indices.delete(index=name)
            client.indices.create(index=name, **mapping.body(shards=1, replicas=0))
        actions = [{"_index": index, "_id": key, "_source": source} for index, key, source in sources]
        began = time.perf_counter()
        bulk(client, actions, chunk_size=500)
        client.indices.refresh(index="bare-*")
        return count / (time.perf_counter() - began)


def rounds(
    given: Any, one: Callable[[int], float], other: Callable[[int], float]
) -> tuple[list[float], list[float]]:
    """Both in turn, so many times."""
    first, second = [], []
    for number in range(given.rounds):
        first.append(one(number))
        second.append(other(number))
    return first, second


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.follow",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--mails", type=int, default=3000)
    parser.add_argument("--size", type=int, default=40_000, help="bytes a mail")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--workers", default="1,2,3,4", help="parse workers; the best of them meets the peers"
    )
    parser.add_argument("--only", default="notmuch,workers,elasticsearch")
    given = parser.parse_args()
    numbers = [int(number) for number in given.workers.split(",")]
    wanted = given.only.split(",")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
        mails = Mails(given.size).many(given.mails)
        base = Path(folder) / "base"
        fill(base, mails)
        here = machine.describe(Path(folder))

        def say(name: str, peer: str, found: tuple[list[float], list[float]]) -> None:
            print(line(Figure(name, found[0], peer, found[1], "msg/s", DURABLE), here), flush=True)

        size = f"{given.size // 1000} kB"
        if "notmuch" in wanted:
            if shutil.which("notmuch") is None:
                sys.exit("notmuch is missing: Debian package notmuch")
            for number in numbers[:2]:
                found = rounds(
                    given, lambda _, n=number: ours(base, len(mails), n), lambda _: notmuch(base, mails)
                )
                say(f"follow into tantivy, {size}, {number} parse workers", "notmuch new", found)
        if "workers" in wanted:
            for number in numbers[1:]:
                found = rounds(
                    given,
                    lambda _, n=number: ours(base, len(mails), n),
                    lambda _: ours(base, len(mails), numbers[0]),
                )
                say(
                    f"follow into tantivy, {size}, {number} parse workers",
                    f"{numbers[0]} parse worker",
                    found,
                )
        if "elasticsearch" in wanted:
            tools = postgres.programs()
            if tools is None:
                sys.exit(postgres.HOW)
            sql = stack.enter_context(postgres.running(tools))
            url = stack.enter_context(elasticsearch.running()).url

            def shared(number: int) -> float:
                with psycopg.connect(sql.url(), autocommit=True) as connection:
                    connection.execute(SQL("CREATE DATABASE {}").format(Identifier(f"bench{number}")))
                return ours(
                    base,
                    len(mails),
                    numbers[min(1, len(numbers) - 1)],
                    catalog_url=sql.url(f"bench{number}"),
                    index="elasticsearch",
                    es_url=url,
                    es_replicas=0,
                    es_prefix=f"bench{number}",
                )

            found = rounds(given, shared, lambda number: bare_bulk(url, f"bench{number}", len(mails)))
            say(f"follow into Elasticsearch and PostgreSQL, {size}", "bare bulk of the same documents", found)


if __name__ == "__main__":
    main()
