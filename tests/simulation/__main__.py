"""``python -m tests.simulation SEED`` plays one schedule and prints it; ``--seeds A-B --jobs N`` plays many."""

import argparse
import sys
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext

from tests.simulation.mutations import MUTATIONS
from tests.simulation.schedule import Failure, failure, play

_CHUNK = 500


def _failures(seeds: range, mutation: str | None, erasers: int) -> list[Failure]:
    with MUTATIONS[mutation]() if mutation else nullcontext():
        return [found for seed in seeds if (found := failure(seed, erasers)) is not None]


def _all(seeds: range, jobs: int, mutation: str | None, erasers: int) -> Iterable[list[Failure]]:
    parts = [
        range(start, min(start + _CHUNK, seeds.stop)) for start in range(seeds.start, seeds.stop, _CHUNK)
    ]
    if jobs == 1:
        yield from (_failures(part, mutation, erasers) for part in parts)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_failures, parts, [mutation] * len(parts), [erasers] * len(parts))


def _one(seed: int, mutation: str | None, erasers: int) -> int:
    trace: list[str] = []
    try:
        with MUTATIONS[mutation]() if mutation else nullcontext():
            told = play(seed, trace, erasers).told
    except Exception:
        print(*trace, sep="\n")
        traceback.print_exc()
        return 1
    print(*trace, sep="\n")
    print(f"seed {seed}: {len(told.captures)} acknowledged, {told.refused} refused, {told.chained} recovered")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("seed", nargs="?", type=int)
    parser.add_argument("--seeds", metavar="A-B", help="from A to B - 1")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--erasers", type=int, default=1, help="erasure batches at a time; the service runs one"
    )
    parser.add_argument("--without", choices=sorted(MUTATIONS), help="with one rule switched off")
    given = parser.parse_args()
    if given.seeds is None:
        return _one(given.seed or 0, given.without, given.erasers)
    first, _, last = given.seeds.partition("-")
    seeds = range(int(first), int(last))
    began, bad = time.monotonic(), 0
    for found in _all(seeds, given.jobs, given.without, given.erasers):
        for each in found:
            bad += 1
            print(each.line(), flush=True)
    seconds = time.monotonic() - began
    print(f"{len(seeds)} schedules, {bad} failed, {seconds:.0f} s, {1000 * seconds / len(seeds):.1f} ms each")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
