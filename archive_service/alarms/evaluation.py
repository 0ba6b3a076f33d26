"""Which alarms are on: what was seen, judged by the catalogue, against what stood before.

What is not known changes nothing: an alarm that is on stays on while nobody can say that its cause has gone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from archive_service.alarms.catalogue import Alarm, Growth, Level
from archive_service.alarms.names import METRICS
from archive_service.alarms.notices import Notice, State, new_notice
from archive_service.alarms.state import Growing, Memory, Standing
from archive_service.alarms.tally import Sample

_QUIET_RUNS = 2  # a value that swings around its threshold is not told at every swing
_MOST_SERIES = 2000


@dataclass(frozen=True)
class Seen:
    """One look at everything. ``missing``: metrics of which not every series could be had. ``at``: seconds since
    1970."""

    at: float
    samples: Sequence[Sample]
    missing: frozenset[str] = frozenset()

    def series(self, condition: Level | Growth) -> list[Sample]:
        """What a condition looks at."""
        return [
            sample
            for sample in self.samples
            if sample.metric == condition.metric
            and all(sample.label(name) in wanted for name, wanted in condition.labels.items())
        ]


@dataclass(frozen=True)
class Verdict:
    """``on``: None when it cannot be told. ``because``: the series that make it so, the worst first."""

    on: bool | None
    because: list[Sample] = field(default_factory=list)


def judge_level(condition: Level, seen: Seen) -> Verdict:
    """Is any series beyond the threshold?"""
    series = seen.series(condition)
    beyond = [
        sample for sample in series if _size(condition, sample) > _sign(condition) * condition.threshold
    ]
    if beyond:
        return Verdict(True, sorted(beyond, key=lambda sample: _size(condition, sample), reverse=True))
    known = bool(series) and condition.metric not in seen.missing
    return Verdict(False if known else None)


def _sign(condition: Level) -> int:
    return 1 if condition.beyond == ">" else -1


def _size(condition: Level, sample: Sample) -> float:
    return _sign(condition) * (abs(sample.value) if condition.either_sign else sample.value)


def judge_growth(condition: Growth, seen: Seen, growing: Growing) -> Verdict:
    """Did the series rise by so much within the window? ``growing`` remembers them from run to run. A counter that
    fell has begun anew, and one that is new began at nothing; of a gauge that is new nobody knows."""
    rose: list[Sample] = []
    for sample in seen.series(condition):
        key = _key(sample)
        before = growing.last.get(key)
        if before is None or sample.value < before:
            before = 0.0 if METRICS[condition.metric].kind == "counter" else sample.value
        by = sample.value - before
        growing.last[key] = sample.value
        if by > 0:
            growing.rises.append((seen.at, by))
            rose.append(Sample(sample.metric, sample.labels, by))
    if len(growing.last) > _MOST_SERIES:
        growing.last = {_key(sample): sample.value for sample in seen.series(condition)}
    growing.rises = [(at, by) for at, by in growing.rises if abs(seen.at - at) <= condition.window]
    total = sum(by for _, by in growing.rises)
    return Verdict(total >= condition.by, rose or [Sample.of(condition.metric, total)])


def _key(sample: Sample) -> str:
    return ",".join(f"{name}={value}" for name, value in sample.labels)


class Evaluator:
    """Judges every alarm and says what is to be told. Not thread-safe. ``repeat``: seconds after which an alarm that
    is still on is told again."""

    def __init__(self, alarms: Sequence[Alarm], memory: Memory, repeat: float) -> None:
        self._alarms = alarms
        self._memory = memory
        self._repeat = repeat

    def run(self, seen: Seen) -> list[Notice]:
        """Each transition once; what is told stands in the memory, which the caller saves before anything is sent."""
        told = [notice for alarm in self._alarms if (notice := self._one(alarm, seen)) is not None]
        self._memory.keep({alarm.name for alarm in self._alarms})
        return told

    @property
    def names(self) -> list[str]:
        """Every alarm that is judged."""
        return [alarm.name for alarm in self._alarms]

    def on(self) -> set[str]:
        """The alarms that are on. May be asked in any thread."""
        return set(self._memory.standing)

    def _one(self, alarm: Alarm, seen: Seen) -> Notice | None:
        verdict = self._judge(alarm, seen)
        standing = self._memory.standing.get(alarm.name)
        if verdict.on:
            return self._is_on(alarm, seen, verdict.because, standing)
        if verdict.on is None or standing is None:
            return None
        standing.quiet += 1
        if standing.quiet < _QUIET_RUNS:
            return None
        del self._memory.standing[alarm.name]
        return new_notice(alarm, State.CLEARED, standing.since, seen.at, [])

    def _is_on(
        self, alarm: Alarm, seen: Seen, because: list[Sample], standing: Standing | None
    ) -> Notice | None:
        series = sorted(map(_key, because)) if alarm.each else []
        if standing is None:
            self._memory.standing[alarm.name] = Standing(since=seen.at, told=seen.at, series=series)
            return new_notice(alarm, State.RAISED, seen.at, seen.at, because)
        standing.quiet = 0
        news = not set(series) <= set(standing.series)
        if not news and 0 <= seen.at - standing.told < self._repeat:
            return None
        standing.told, standing.series = seen.at, series  # one that comes and goes is no news each time
        return new_notice(alarm, State.STILL_ON, standing.since, seen.at, because)

    def _judge(self, alarm: Alarm, seen: Seen) -> Verdict:
        """On if any condition holds; unknown if none does and one cannot be told."""
        verdicts = list(self._verdicts(alarm, seen))  # every growth must see every run
        for verdict in verdicts:
            if verdict.on:
                return verdict
        return Verdict(None if any(verdict.on is None for verdict in verdicts) else False)

    def _verdicts(self, alarm: Alarm, seen: Seen) -> Iterable[Verdict]:
        for place, condition in enumerate(alarm.when):
            if isinstance(condition, Level):
                yield judge_level(condition, seen)
            else:
                yield judge_growth(condition, seen, self._memory.growth(f"{alarm.name}/{place}"))
