"""``python -m tests.histories --seeds A-B``: many histories; each failure is told with its seed and steps."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from archive_service.following import parser_pool
from archive_service.settings import load
from tests.histories.history import Broken, made, run_seed


def main() -> int:
    """0 when no promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.histories")
    parser.add_argument("--seeds", default="0-99", metavar="A-B")
    parser.add_argument("--length", type=int, default=14, metavar="N", help="steps of a history")
    given = parser.parse_args()
    first, last = map(int, given.seeds.split("-"))
    failed = 0
    with tempfile.TemporaryDirectory() as folder, parser_pool(load(None), 1) as pool:
        template = made(Path(folder) / "template", pool)
        for seed in range(first, last + 1):
            try:
                run_seed(template, Path(folder) / "archive", seed, given.length)
            except Broken as broken:
                failed += 1
                sys.stdout.write(f"{broken}\n\n")
                sys.stdout.flush()
            shutil.rmtree(Path(folder) / "archive", ignore_errors=True)
    sys.stdout.write(f"{last + 1 - first} histories, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
