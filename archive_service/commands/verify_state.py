"""Where an interrupted ``verify`` stopped, and what it had found: what ``--resume`` goes on from."""

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from archive_service.ledger.verify.report import Problem, Report, Severity, What
from archive_service.model.errors import Invalid
from archive_service.vault.key_layout import LogId

_SAVE_EVERY = 5.0  # seconds
_ABOUT_CONTENTS = {What.OBJECT, What.PAYLOAD, What.KEY, What.LOCK, What.STORE}


class VerifyState:
    """Kept in a file; believed only by who asks for ``--resume``."""

    def __init__(self, path: Path, *, resume: bool, sample: float, seed: int) -> None:
        """Raises Invalid when there is a state to resume, but not one of this kind of run."""
        self._path = path
        self._how = {"sample": sample, "seed": seed}
        self._saved = time.monotonic()
        self.marks: dict[str, int] = {}
        self.problems: list[Problem] = []
        if resume:
            self._load()

    def _load(self) -> None:
        try:
            kept = json.loads(self._path.read_text("utf-8"))
            how = kept["how"]
            self.marks = {str(log): int(seq) for log, seq in kept["marks"].items()}
            self.problems = [_problem(plain) for plain in kept["problems"]]
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = "the interrupted run's state cannot be read; run without --resume"
            raise Invalid(reason, code="verify.resume") from error
        if how != self._how:
            raise Invalid("the interrupted run had another --sample or --seed", code="verify.resume")

    def done(self, report: Report, log: LogId, seq: int) -> None:
        """Note progress; written now and then."""
        self.marks[str(log)] = max(seq + 1, self.marks.get(str(log), 0))
        if time.monotonic() - self._saved > _SAVE_EVERY:
            self.save(report)

    def save(self, report: Report) -> None:
        """Write the state. What a resumed run looks at again anyway is not kept. That it cannot be written is noted,
        and does not stop the run."""
        self._saved = time.monotonic()
        kept = [problem.plain() for problem in report.problems if self._passed(problem)]
        text = json.dumps({"how": self._how, "marks": self.marks, "problems": kept})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._path.with_suffix(".new")
            unfinished.write_text(text, "utf-8")
            unfinished.replace(self._path)
        except OSError:
            detail = "this run's state cannot be written: --resume would not go on from here"
            if not any(problem.detail == detail for problem in report.problems):
                report.note(What.STORE, detail)

    def _passed(self, problem: Problem) -> bool:
        """Whether a problem is about the contents of an entry that a resumed run will not look at again."""
        if problem.what not in _ABOUT_CONTENTS or problem.log is None or problem.seq is None:
            return False
        return problem.seq < self.marks.get(problem.log, 0)

    def clear(self) -> None:
        """The run is complete. A state that cannot be removed harms nobody who does not ask for it."""
        with suppress(OSError):
            self._path.unlink()


def _problem(plain: dict[str, Any]) -> Problem:
    where = {key: plain[key] for key in ("log", "seq", "name") if key in plain}
    return Problem(Severity(plain["severity"]), What(plain["what"]), str(plain["detail"]), **where)
