"""Intake over S3 as a share of what the same server gives to the same requests without an archive around them.

    python -m bench.s3_intake [--mails 600] [--rounds 3] [--connections 16,32,64,128] [--processes 1,2,4]
                              [--size 40000] [--pace 100]

With ``--pace`` the load stays the same whatever the number of processes: what is left is what writers cost each other.

Ours: that many processes, each a capture writer with its own log slot; together they keep ``connections`` mails in
flight. A mail counts when it is sealed, locked, its key stands in both places and its chained entry is written.

Peer: as many processes, together with as many PUTs in flight, of bodies as large as our sealed objects, by boto3 with
the same headers (conditional, locked, SHA-256). The archive sends the same requests over boto3's connections with less
around them (``stores/s3/direct.py``), which is part of the figure. What we create beyond one object a mail (key
records, batches of entries) is counted and printed; in the peer's figure there is none of it.

The two run in turn, round by round, against one versitygw on loopback, which shares the processors with both.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import machine
from bench.figures import Figure, line, percentile
from bench.processes import BenchError
from tests.services.tools import find_tool
from tests.services.versitygw import HOW, S3Service, running

DURABLE = "as the server: sealed object under lock, key record in two places, chained entry, before the 250"
_PROGRAM = Path(sys.executable).with_name("archive-service")


def environment(service: S3Service, work: Path) -> dict[str, str]:
    """Settings of an archive on that server: keys in two more buckets of it, key service in a folder."""
    return {
        **os.environ,
        "ARCHIVE_STORE": "s3",
        "ARCHIVE_S3_ENDPOINT": service.url,
        "ARCHIVE_S3_BUCKET": "archive",
        "ARCHIVE_S3_ACCESS_KEY": service.access_key,
        "ARCHIVE_S3_SECRET_KEY": service.secret_key,
        "ARCHIVE_KEYS_A": "s3://keys-a",
        "ARCHIVE_KEYS_B": "s3://keys-b",
        "ARCHIVE_KMS_FOLDER": str(work / "kms"),
        "ARCHIVE_WORK": str(work / "work"),
    }


def archive_service(arguments: list[str], settings: dict[str, str]) -> str:
    """Run a command. Raises BenchError."""
    done = subprocess.run(
        [str(_PROGRAM), *arguments], env=settings, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"archive-service {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def prepared() -> Iterator[dict[str, str]]:
    """A server with a fresh archive in it; its settings."""
    tool = find_tool("versitygw")
    if tool is None:
        raise BenchError(f"versitygw is missing: {HOW}")
    with running(str(tool)) as service, tempfile.TemporaryDirectory(prefix="bench-s3-") as folder:
        settings = environment(service, Path(folder))
        archive_service(["init", "--tenant", "bench", "--create-buckets"], settings)
        yield settings


def measure(
    what: str, settings: dict[str, str], processes: int, connections: int, given: Any
) -> dict[str, Any]:
    """One round of one side: its rate, latencies and requests, over all its processes, which start together."""
    each = max(1, connections // processes)
    command = [
        sys.executable, "-m", "bench.s3_worker", what,
        "--in-flight", str(each), "--mails", str(given.mails // processes), "--size", str(given.size),
        "--pace", str(given.pace / processes),
    ]  # fmt: skip
    workers = [
        subprocess.Popen(command, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for worker in workers:
        if worker.stdout is None or worker.stdout.readline() != "ready\n":
            raise BenchError("a worker did not become ready")
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = [json.loads(worker.communicate()[0]) for worker in workers]
    begun, ended = min(each["begun"] for each in said), max(each["ended"] for each in said)
    times = [value for each in said for value in each["times"]]
    return {
        "rate": len(times) / (ended - begun),
        "p99": percentile(times, 0.99) * 1000,
        "p50": percentile(times, 0.5) * 1000,
        "requests": sum(each["requests"] for each in said),
        "mails": len(times),
        "bytes": sum(each["bytes"] for each in said),
    }


def compare(settings: dict[str, str], processes: int, connections: int, given: Any) -> Iterator[Figure]:
    """Ours and the peer's in turn; rate and p99."""
    ours, peer = [], []
    for _ in range(given.rounds):
        peer.append(measure("ceiling", settings, processes, connections, given))
        ours.append(measure("ours", settings, processes, connections, given))
    load = f"{given.pace:g} mails a second" if given.pace else f"{connections} in flight"
    where = f"{processes} processes, {load}, {given.size} bytes"
    extra = {
        "requests_per_mail": round(
            sum(each["requests"] for each in ours) / sum(each["mails"] for each in ours), 2
        )
    }
    name = f"S3 intake, {where}"
    yield Figure(
        name, [each["rate"] for each in ours], "the same boto3 PUTs alone", [each["rate"] for each in peer],
        "msg/s", DURABLE, extra,
    )  # fmt: skip
    yield Figure(
        f"{name}, p99", [each["p99"] for each in ours], "one such PUT", [each["p99"] for each in peer],
        "ms", DURABLE,
    )  # fmt: skip


def main() -> int:
    """Print a line a figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mails", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", default="16,32,64,128")
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--size", type=int, default=40_000)
    parser.add_argument("--pace", type=float, default=0.0, help="so many mails a second over all processes")
    given = parser.parse_args()
    with prepared() as settings:
        here = machine.describe(Path(tempfile.gettempdir()))
        for processes in map(int, given.processes.split(",")):
            for connections in map(int, given.connections.split(",")):
                for figure in compare(settings, processes, connections, given):
                    print(line(figure, here), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
