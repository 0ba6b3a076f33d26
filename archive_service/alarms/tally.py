"""What one process counts, and how it is written for Prometheus (text format 0.0.4)."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from archive_service.alarms.names import METRICS


@dataclass(frozen=True)
class Sample:
    """One value of one series. ``labels`` are sorted pairs, so that equal series are equal."""

    metric: str
    labels: tuple[tuple[str, str], ...]
    value: float

    @staticmethod
    def of(metric: str, value: float, **labels: str) -> "Sample":
        """A value under these labels."""
        return Sample(metric, tuple(sorted(labels.items())), float(value))

    def label(self, name: str) -> str | None:
        """A label's value, or None."""
        return dict(self.labels).get(name)

    def under(self, **labels: str) -> "Sample":
        """The same with these labels too."""
        return Sample.of(self.metric, self.value, **{**dict(self.labels), **labels})

    def plain(self) -> list[Any]:
        """As JSON."""
        return [self.metric, dict(self.labels), self.value]

    @staticmethod
    def parse(plain: Any) -> "Sample":
        """The reverse of ``plain``. Raises ValueError, KeyError or TypeError for what is none."""
        metric, labels, value = plain
        if metric not in METRICS:
            raise ValueError("a metric that nobody knows")
        return Sample.of(metric, float(value), **{str(name): str(said) for name, said in labels.items()})


class Tally:
    """Counters and gauges of this process. Thread-safe, and never fails: what is counted must not hold up a mail."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._others: list[Callable[[], Iterable[Sample]]] = []

    def also(self, samples: Callable[[], Iterable[Sample]]) -> None:
        """Ask this too, at every report: what somebody else counts already. It is called in another thread."""
        with self._lock:
            self._others.append(samples)

    def add(self, metric: str, by: float = 1, **labels: str) -> None:
        """Count ``by`` more."""
        key = metric, tuple(sorted(labels.items()))
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + by

    def set(self, metric: str, value: float, **labels: str) -> None:
        """A value as it is now."""
        with self._lock:
            self._values[metric, tuple(sorted(labels.items()))] = float(value)

    def own(self) -> list[Sample]:
        """What was counted here, as it is now."""
        with self._lock:
            return [Sample(metric, labels, value) for (metric, labels), value in self._values.items()]

    def samples(self) -> list[Sample]:
        """Everything, as it is now."""
        with self._lock:
            others = list(self._others)
        return [*self.own(), *(sample for other in others for sample in other())]


def exposition(samples: Iterable[Sample]) -> str:
    """What a scrape gets: metrics by name, each with its help and type."""
    by_metric: dict[str, list[Sample]] = {}
    for sample in samples:
        by_metric.setdefault(sample.metric, []).append(sample)
    lines: list[str] = []
    for metric, series in sorted(by_metric.items()):
        lines += [f"# HELP {metric} {METRICS[metric].help}", f"# TYPE {metric} {METRICS[metric].kind}"]
        lines += [_line(sample) for sample in sorted(series, key=lambda each: each.labels)]
    return "\n".join(lines) + "\n"


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
    return f"{sample.metric}{'{' + labels + '}' if labels else ''} {_number(sample.value)}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
