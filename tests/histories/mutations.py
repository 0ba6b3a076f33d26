"""Faults put into the program on purpose: a history that finds none of them would find nothing.

``python -m tests.histories.mutations [NAME ...]`` says for each which seed has caught it, and by which broken promise.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archive_service import bounded_time, strong_actions
from archive_service.access.hold_scopes import HoldScopes
from archive_service.disposal import disposing
from archive_service.following import parser_pool
from archive_service.ledger.erasures import Erasures
from archive_service.ledger.holds import Holds
from archive_service.orders import asking
from archive_service.settings import load
from retention import disposition, orders
from retention.erasure import ErasureBatch, Outcome
from tests.histories.history import Broken, made, run_seed

_MOST = 60


def _keeps(self: Erasures, capture: str, now: str) -> list[Any]:
    keeps = (keep for keep in self.keeps.values() if capture in keep.captures)
    return [keep.ground for keep in keeps if keep.stands(now)]


MUTATIONS: dict[str, tuple[Any, str, Any]] = {
    "holds do not count": (Erasures, "keeps_of", _keeps),
    "nothing keeps": (Erasures, "keeps_of", lambda *_: []),
    "a request keeps to no minimum": (strong_actions, "keep_to_minimum", lambda *_: {}),
    "a hold is not looked for before the key goes": (HoldScopes, "undecided", lambda *_: set()),
    "no capture is under a hold": (Holds, "holds_of", lambda *_: []),
    "a wrong clock is believed": (bounded_time, "behind_ours", lambda _: timedelta()),
    "an order to erase takes what another keeps": ((orders, asking), "require_no_keeping", lambda *_: None),
    "a run takes what is kept": (disposition, "_free", lambda _, captures, *__: list(captures)),
    "no key goes": (ErasureBatch, "run", lambda *_, **__: Outcome()),
    "no object goes": (disposition, "_delete", lambda *_: (False, None)),
    "no term is ever over": (disposing, "past", lambda *_: None),
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The program with one fault."""
    where, what, fault = MUTATIONS[name]
    with pytest.MonkeyPatch.context() as patch:
        for each in where if isinstance(where, tuple) else (where,):
            patch.setattr(each, what, fault)
        yield


def caught(name: str, run: Callable[[int], None]) -> str | None:
    """What the first history says that breaks, or None."""
    with mutated(name):
        for seed in range(_MOST):
            try:
                run(seed)
            except Broken as broken:
                return str(broken).splitlines()[0]
    return None


def main() -> int:
    """0 when each was caught."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder, parser_pool(load(None), 1) as pool:
        template = made(Path(folder) / "template", pool)

        def run(seed: int) -> None:
            shutil.rmtree(Path(folder) / "archive", ignore_errors=True)
            run_seed(template, Path(folder) / "archive", seed)

        for name in sys.argv[1:] or MUTATIONS:
            said = caught(name, run)
            missed += said is None
            sys.stdout.write(f"{name}: {said or 'NOT CAUGHT'}\n")
            sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
