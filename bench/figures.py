"""The figures of a run as lines of JSON, one object a line."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` (0 to 1) of all values do not exceed (nearest rank).

    Raises ValueError when there are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = math.ceil(share * len(ordered))
    return ordered[max(rank, 1) - 1]


@dataclass(frozen=True)
class Figure:
    """One comparison. ``ours`` and ``peer_value`` hold one value a round, measured in turn."""

    name: str
    ours: Sequence[float]
    peer: str
    peer_value: Sequence[float]
    unit: str
    durable: str
    extra: dict[str, Any] = field(default_factory=dict)


def as_object(figure: Figure, machine: str) -> dict[str, Any]:
    """What is printed of a figure: medians over the rounds, their ratio, and the rounds themselves."""
    ours, peer_value = statistics.median(figure.ours), statistics.median(figure.peer_value)
    return {
        "name": figure.name,
        "ours": round(ours, 1),
        "peer": figure.peer,
        "peer_value": round(peer_value, 1),
        "ratio": round(ours / peer_value, 2),
        "unit": figure.unit,
        "durable": figure.durable,
        "machine": machine,
        "rounds": [[round(value, 1) for value in values] for values in (figure.ours, figure.peer_value)],
        **figure.extra,
    }


def line(figure: Figure, machine: str) -> str:
    """The figure as one line of JSON, without its line end."""
    return json.dumps(as_object(figure, machine), ensure_ascii=False)
