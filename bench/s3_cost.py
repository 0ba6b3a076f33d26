"""What an archive on S3 asks of its store, counted on the wire, and what that costs at a public price list.

    python -m bench.s3_cost [--mails 2000] [--sessions 16] [--idle 60]

The whole service takes mails over SMTP on a fresh archive behind a counting proxy, until all are found by search; then
it idles. Requests are sorted as the price list sorts them. Prints a JSON object a phase and one with the sheet.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import machine
from bench.archive import Served
from bench.mails import Mails
from bench.processes import running
from bench.s3_intake import archive_service, prepared
from bench.sender import send
from bench.targets import Target
from tests.services.fault_proxy import FaultProxy, Request

# US dollars, S3 Standard in us-east-1 as AWS's public price list had it in 2026: check before quoting.
PRICES = {"put_list_per_1000": 0.005, "get_per_1000": 0.0004, "gb_month": 0.023}
_PROGRAM = str(Path(sys.executable).with_name("archive-service"))


def kind(request: Request) -> str:
    """As the price list has it: PUT, POST and LIST are dear, GET and HEAD cheap, DELETE free."""
    if request.method == "DELETE":
        return "delete"
    if request.method in {"PUT", "POST"}:
        return "put"
    return "list" if request.query & {"versions", "list-type"} else "get"


def count(requests: Sequence[Request]) -> Counter[str]:
    """Requests by kind."""
    return Counter(kind(request) for request in requests)


def dollars(requests: Counter[str], per: float = 1.0) -> float:
    """What these requests cost, ``per`` of them standing for one."""
    dear = (requests["put"] + requests["list"]) * PRICES["put_list_per_1000"] / 1000
    return per * (dear + requests["get"] * PRICES["get_per_1000"] / 1000)


def _wait_found(served: Served, wanted: int) -> None:
    while served.found() < wanted:
        time.sleep(0.5)


def _serve(settings: dict[str, str], given: Any) -> tuple[Counter[str], Counter[str]]:
    """Requests from the first mail until all are found, and in ``idle`` seconds after that."""
    proxy = FaultProxy(settings["ARCHIVE_S3_ENDPOINT"])
    try:
        behind = {**settings, "ARCHIVE_S3_ENDPOINT": proxy.url}
        added = ["source", "add", "--tenant", "bench", "--kind", "generic", "--name", "feed", "--json"]
        address = json.loads(archive_service(added, behind))["address"]
        token = archive_service(["token", "--tenant", "bench", "--role", "legal"], behind).strip()
        ports = ["--smtp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--json"]
        log = Path(settings["ARCHIVE_WORK"]).parent / "serve.log"
        with running([_PROGRAM, "serve", *ports], log, environment=behind) as process:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            port = int(ready["smtp"].rpartition(":")[2])
            served = Served(Target("archive-service on S3", port, address, ""), ready["http"], token)
            before = len(proxy.requests)
            send(served.target, Mails(given.size).many(given.mails), given.sessions)
            _wait_found(served, given.mails)
            busy = count(proxy.requests[before:])
            before = len(proxy.requests)
            time.sleep(given.idle)
            return busy, count(proxy.requests[before:])
    finally:
        proxy.close()


def main() -> int:
    """Count, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mails", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=16)
    parser.add_argument("--size", type=int, default=40_000)
    parser.add_argument("--idle", type=float, default=60.0)
    given = parser.parse_args()
    with prepared() as settings:
        busy, idle = _serve(settings, given)
        here = machine.describe(Path(settings["ARCHIVE_WORK"]))
    million = 1_000_000 / given.mails
    month = 30 * 86400 / given.idle
    print(json.dumps({"phase": "busy", "mails": given.mails, "sessions": given.sessions, "requests": busy}))
    print(json.dumps({"phase": "idle", "seconds": given.idle, "requests": idle}))
    sheet = {
        "name": "cost of a million mails on S3",
        "requests_per_mail": {name: round(value / given.mails, 2) for name, value in sorted(busy.items())},
        "dollars_per_million_mails": round(dollars(busy, million), 2),
        "dollars_per_idle_month": round(dollars(idle, month), 2),
        "prices": PRICES,
        "machine": here,
    }
    print(json.dumps(sheet))
    return 0


if __name__ == "__main__":
    sys.exit(main())
