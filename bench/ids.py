"""Whether an answer's time tells that an id exists: ``python -m bench.ids [--rounds 5] [--pairs 200]``.

Each pair asks for an id that is there and not for the caller, and for one that never was, in an order that is drawn
anew; both answer 404 after the same entry in the access log. A ratio near 1 says that the time tells nothing to who can
ask so often; the spread of the rounds says how near can be told from chance. The whole API over a real embedded
archive, without a socket, so that a network's noise hides nothing.
"""

import argparse
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from archive_service.following import parser_pool
from archive_service.settings import load
from bench.figures import Figure, line
from bench.machine import describe
from tests.flow.real_api import RealApi
from tests.flow.test_policy_states import Archive

Ask = Callable[[str], None]


def asker(api: RealApi, role: str, subject: str, path: str) -> Ask:
    """Asks for an id in a path, and wants a 404."""
    token = api.token(role, subject)

    def ask(name: str) -> None:
        answer = api.with_token("GET", path.format(name), token)
        if answer.status_code != 404:
            raise SystemExit(f"{path}: {answer.status_code}, where an id is hidden")

    return ask


def seconds(ask: Ask, name: str) -> float:
    """Of one answer."""
    began = time.perf_counter()
    ask(name)
    return time.perf_counter() - began


def measure(name: str, ask: Ask, there: str, rounds: int, pairs: int) -> Figure:
    """Medians of each round, in microseconds; the first asks warm up."""
    ours: list[float] = []
    never: list[float] = []
    for _ in range(10):
        ask(there)
    for _ in range(rounds):
        taken: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(pairs):
            for hidden in random.sample((True, False), 2):
                asked = there if hidden else there[0] + secrets.token_hex(len(there))[: len(there) - 1]
                taken[hidden].append(seconds(ask, asked))
        ours.append(statistics.median(taken[True]) * 1e6)
        never.append(statistics.median(taken[False]) * 1e6)
    return Figure(
        name, ours, "an id that never was", never, "us an answer", "the access entry", {"pairs": pairs}
    )


def main() -> None:
    """Print a line for each way in which an id can be hidden."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--pairs", type=int, default=200)
    given = options.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        parser_pool(load(None), 1) as pool,
        RealApi(Path(folder) / "archive", pool) as api,
    ):
        archive = Archive(api, Path(folder))
        message, capture = "/v1/messages/{}", "/v1/captures/{}/raw"
        reviewer = ("reviewer", "of-people")
        for name, who, path, there in (
            ("a message outside a grant", reviewer, message, archive.ids["free"]),
            ("its bytes", reviewer, message + "/raw", archive.ids["free"]),
            ("a capture outside a grant", reviewer, capture, archive.captures["free"]),
            ("a message that is barred", ("legal", "lea"), message, archive.ids["barred"]),
            ("a message of another owner", ("legal", "lea"), message, archive.ids["sealed"]),
            ("a compartment without a grant", ("legal", "lea"), "/v1/jobs?compartment={}", archive.owner),
        ):
            ask = asker(api, *who, path)
            print(
                line(measure(name, ask, there, given.rounds, given.pairs), describe(Path(folder))), flush=True
            )


if __name__ == "__main__":
    main()
