"""One process of ``bench.s3_intake``: says ``ready``, waits for a line, works, prints one JSON object."""

import argparse
import base64
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config

from archive_service.bootstrap import open_core
from archive_service.ledger.capture_writer import CaptureDraft, CaptureWriter
from archive_service.model.clock import rfc3339
from archive_service.model.mail import CaptureRecord
from archive_service.settings import load
from archive_service.vault import seal
from archive_service.vault.stores.base import Lock
from bench.mails import Mails

_DISTINCT = 16  # mails made beforehand, sent over and over: captures are never merged


class Flight:
    """Keeps ``most`` of ``total`` pieces of work under way, from one thread, and times each. ``pace``: begins so many a
    second instead of as many as it can; a piece that must wait for room is timed from when it was due."""

    def __init__(self, most: int, total: int, pace: float = 0.0) -> None:
        self._room = threading.Semaphore(most)
        self._total = total
        self._pace = pace
        self.times: list[float] = []

    def run(self, start: Callable[[int], "Future[Any]"]) -> tuple[float, float]:
        """When the first began and the last ended, by the wall clock all processes share."""
        begun = time.time()
        waiting = []
        first = time.perf_counter()
        for number in range(self._total):
            due = first + number / self._pace if self._pace else 0.0
            time.sleep(max(0.0, due - time.perf_counter()) if self._pace else 0.0)
            self._room.acquire()
            at = due or time.perf_counter()
            future = start(number)
            future.add_done_callback(lambda done, at=at: self._landed(at))  # type: ignore[misc]
            waiting.append(future)
        for future in waiting:
            future.result()
        return begun, time.time()

    def _landed(self, at: float) -> None:
        self.times.append(time.perf_counter() - at)
        self._room.release()


def wait_for_the_signal() -> None:
    """All processes begin together."""
    print("ready", flush=True)
    sys.stdin.readline()


def ceiling(in_flight: int, mails: int, size: int, pace: float) -> dict[str, Any]:
    """The same PUTs, of bodies that are sealed mails, and nothing else."""
    bodies = [
        seal.seal_whole(os.urandom(32), "objects/x", b"{}" * 150, raw)[0]
        for raw in Mails(size).many(_DISTINCT)
    ]
    client = boto3.client(
        "s3",
        endpoint_url=os.environ["ARCHIVE_S3_ENDPOINT"],
        region_name="us-east-1",
        aws_access_key_id=os.environ["ARCHIVE_S3_ACCESS_KEY"],
        aws_secret_access_key=os.environ["ARCHIVE_S3_SECRET_KEY"],
        config=Config(
            max_pool_connections=in_flight, s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}
        ),
    )
    until = datetime.now(UTC) + timedelta(days=30)
    name = f"bench/{os.urandom(8).hex()}"

    def put(number: int) -> None:
        body = bodies[number % _DISTINCT]
        client.put_object(
            Bucket=os.environ["ARCHIVE_S3_BUCKET"],
            Key=f"{name}-{number}",
            Body=body,
            IfNoneMatch="*",
            ObjectLockMode="COMPLIANCE",
            ObjectLockRetainUntilDate=until,
            ChecksumSHA256=base64.b64encode(hashlib.sha256(body).digest()).decode(),
        )

    flight = Flight(in_flight, mails, pace)
    with ThreadPoolExecutor(in_flight) as pool:
        list(pool.map(put, range(-in_flight, 0)))  # connections stand before the clock runs
        wait_for_the_signal()
        begun, ended = flight.run(lambda number: pool.submit(put, number))
    return {
        "begun": begun,
        "ended": ended,
        "times": flight.times,
        "requests": mails,
        "bytes": sum(map(len, bodies)),
    }


def ours(in_flight: int, mails: int, size: int, pace: float) -> dict[str, Any]:
    """A capture writer of the archive that the environment names."""
    raws = Mails(size).many(_DISTINCT)
    core = open_core(load())
    tenant = core.tenant("bench")
    counted = _Counted(core)
    writer = CaptureWriter(
        core.store, tenant.keyring, core.slots(tenant.id, "capture"), core.clock, core.writer_limits
    )
    writer.open()
    for future in [writer.submit(_draft(), raws[0]) for _ in range(in_flight)]:
        future.result()
    flight = Flight(in_flight, mails, pace)
    wait_for_the_signal()
    counted.start()
    begun, ended = flight.run(lambda number: writer.submit(_draft(), raws[number % _DISTINCT]))
    result = {"begun": begun, "ended": ended, "times": flight.times, "requests": counted.requests, "bytes": 0}
    writer.close()
    core.close()
    return result


class _Counted:
    """Counts every object and key record that is written."""

    def __init__(self, core: Any) -> None:
        self.requests = 0
        self._lock = threading.Lock()
        create = core.store.create
        core.store.create = lambda objects: (self._add(len(objects)), create(objects))[1]
        for place in core.keys.places:
            for verb in ("create", "put"):
                self._wrap(place, verb)

    def _wrap(self, place: Any, verb: str) -> None:
        inner = getattr(place, verb)
        setattr(place, verb, lambda name, data: (self._add(1), inner(name, data))[1])

    def _add(self, count: int) -> None:
        with self._lock:
            self.requests += count

    def start(self) -> None:
        """From here on."""
        self.requests = 0


def _draft() -> CaptureDraft:
    now = datetime.now(UTC)
    record = CaptureRecord(
        capture="",
        source="s0000000000000000",
        received_at=rfc3339(now),
        mail_from="anne@example.org",
        rcpt_to=("journal@archive.localhost",),
    )
    return CaptureDraft(record, Lock(until=now + timedelta(days=30)), 1)


def main() -> int:
    """Work as told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["ours", "ceiling"])
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--mails", type=int, required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--pace", type=float, default=0.0)
    given = parser.parse_args()
    work = ours if given.what == "ours" else ceiling
    print(json.dumps(work(given.in_flight, given.mails, given.size, given.pace)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
