"""Ours: an archive of its own in a fresh folder, served by its command line as anyone would."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, running
from bench.targets import Target

WORKERS = 2
DURABLE = "sealed object, key record in two places, chained entry, and the folders of each: all fsynced before the 250"
_PROGRAM = Path(sys.executable).with_name("archive-service")


@dataclass(frozen=True)
class Served:
    """A running archive: the SMTP side as a target, and what its API can be asked with."""

    target: Target
    http: str | None
    token: str

    def found(self) -> int:
        """How many messages its search index holds now. Only with the role ``all``."""
        request = urllib.request.Request(
            f"http://{self.http}/v1/search",
            json.dumps({"query": "*", "limit": 1}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(json.load(answer)["total"])


def _command(*arguments: str) -> str:
    done = subprocess.run([str(_PROGRAM), *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(
            f"archive-service {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}"
        )
    return done.stdout


@contextmanager
def archive(folder: Path, role: str) -> Iterator[Served]:
    """A fresh archive in ``folder``, served with ``role`` (``smtp`` or ``all``) and two SMTP processes."""
    data = ["--data", str(folder / "data")]
    _command("init", *data, "--tenant", "bench")
    added = _command(
        "source", "add", *data, "--tenant", "bench", "--kind", "generic", "--name", "feed", "--json"
    )
    token = _command("token", *data, "--tenant", "bench", "--role", "legal").strip()
    ports = ["--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    workers = ["--role", role, "--smtp-workers", str(WORKERS)]
    with running(
        [str(_PROGRAM), "serve", *data, *ports, *workers, "--json"], folder / "serve.log"
    ) as process:
        said = process.stdout.readline() if process.stdout is not None else ""
        if not said:
            raise BenchError("archive-service serve ended before it was ready")
        ready = json.loads(said)
        port = int(ready["smtp"].rpartition(":")[2])
        name = f"archive-service, role {role}, {WORKERS} SMTP processes"
        yield Served(Target(name, port, json.loads(added)["address"], DURABLE), ready["http"], token)
