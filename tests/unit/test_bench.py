"""What a bench prints: one JSON object a line, with a peer of the same run. Nothing is measured here."""

import json

import pytest

from bench.figures import Figure, line, percentile


def test_a_line_holds_medians_their_ratio_and_what_was_durable() -> None:
    figure = Figure(
        "intake", [100.0, 300.0, 200.0], "sink", [100.0, 50.0, 150.0], "msg/s", "all", {"sessions": 20}
    )
    said = json.loads(line(figure, "2 cores"))
    wanted = {"name", "ours", "peer", "peer_value", "ratio", "unit", "durable", "machine"}
    assert wanted <= set(said)
    assert (said["ours"], said["peer_value"], said["ratio"], said["sessions"]) == (200.0, 100.0, 2.0, 20)
    assert "\n" not in line(figure, "2 cores")


def test_the_percentile_is_of_the_nearest_rank() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.99) == 99.0
    assert percentile([5.0], 0.99) == 5.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
