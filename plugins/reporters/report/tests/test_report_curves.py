"""Curves over seeds and their drawing, against values by hand."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from slmk_reporter_report.chart import Chart, Mean, Rule, Size
from slmk_reporter_report.curves import Curve, Spread, curve, interval_of_mean, range_of_seeds, speed, thinned


def line(x: list[float], y: list[float]) -> Curve:
    """A curve through points."""
    return Curve(np.array(x, dtype=float), np.array(y, dtype=float))


def test_curve_leaves_out_what_is_not_known() -> None:
    """Rows without the metric, with null or with an infinite value are no points."""
    values = [None, 1.0, float("inf"), 3.0]
    rows = [{"kind": "train", "env_steps": 10 * i, "loss/value": value} for i, value in enumerate(values)]
    found = curve([*rows, {"kind": "eval", "env_steps": 50}], "loss/value")
    assert (found.x.tolist(), found.y.tolist()) == ([10, 30], [1, 3])


def test_curve_knows_that_the_last_value_was_lost() -> None:
    """It is null or infinite in the last row that has the metric; a row that does not have it says nothing."""
    for values, lost in (([1.0, 2.0], False), ([None, 2.0], False), ([1.0, None], True), ([1.0, float("inf")], True)):
        rows = [{"kind": "train", "env_steps": i, "loss/value": value} for i, value in enumerate(values)]
        assert curve([*rows, {"kind": "train", "env_steps": 50}], "loss/value").lost is lost
    assert not curve([], "loss/value").lost


def test_speed_is_that_between_rows() -> None:
    """100 steps in the first second and 100 in the next tenth are 100 and 1000 steps per second, not an average."""
    rows = [
        {"kind": "train", "env_steps": 100, "time/elapsed_s": 1.0},
        {"kind": "eval", "env_steps": 100},
        {"kind": "train", "env_steps": 200, "time/elapsed_s": 1.1},
    ]
    assert speed(rows).y.tolist() == pytest.approx([100, 1000])


def test_mean_over_seeds_is_taken_at_the_steps_all_have_passed() -> None:
    """Seeds with other steps are joined by straight lines; the mean ends with the shortest seed."""
    spread = range_of_seeds([line([0, 100, 200], [0, 10, 20]), line([50, 150], [100, 200]), line([], [])])
    assert spread is not None
    assert spread.x.tolist() == [50, 100, 150]
    assert spread.mean.tolist() == [52.5, 80, 107.5]
    assert spread.low.tolist() == [5, 10, 15]
    assert spread.high.tolist() == [100, 150, 200]


def test_interval_of_two_seeds_spans_them_and_repeats() -> None:
    """A quarter of the redraws is twice the lower seed, a quarter twice the upper: 95 % reach from one to the other."""
    seeds = [line([0, 1], [0, 10]), line([0, 1], [4, 10])]
    first, second = interval_of_mean(seeds), interval_of_mean(seeds)
    assert first is not None
    assert second is not None
    assert (first.mean.tolist(), first.low.tolist(), first.high.tolist()) == ([2, 10], [0, 10], [4, 10])
    assert second.low.tolist() == first.low.tolist()


def test_interval_of_many_seeds_is_that_of_the_normal_distribution() -> None:
    """For 400 seeds with standard deviation 1 the interval is about ±1.96/20 around the mean."""
    values = np.random.default_rng(1).normal(size=400)
    values = (values - values.mean()) / values.std()
    spread = interval_of_mean([line([0], [v]) for v in values])
    assert spread is not None
    assert [spread.low[0], spread.high[0]] == pytest.approx([-0.098, 0.098], abs=0.008)


def test_nothing_in_common_is_no_spread() -> None:
    """There is no mean over no curves, nor over curves that never overlap."""
    assert range_of_seeds([line([], [])]) is None
    assert range_of_seeds([line([0, 1], [0, 0]), line([5, 6], [0, 0])]) is None


def test_thinning_keeps_both_ends() -> None:
    """A thousand points become at most 240, with the first and the last among them; a short curve stays whole."""
    long = thinned(line(list(range(1000)), list(range(1000))))
    assert (len(long.x), long.x[0], long.x[-1]) == (240, 0, 999)
    assert thinned(line([1, 2], [3, 4])).y.tolist() == [3, 4]


def test_chart_puts_points_where_the_scales_say() -> None:
    """On 100 by 60 pixels without room for labels, 0..10 steps and 0..1 with 5 % margin at both ends."""
    spread = Spread(np.array([0.0, 10.0]), np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    size = Size(100, 60, left=0, right=0, top=0, bottom=0)
    svg = Chart(title="<loss>", end=10, means=[Mean("a & b", spread)], size=size).svg()
    root = ElementTree.fromstring(svg)
    mean = root.find("polyline[@class='mean c0']")
    assert mean is not None
    assert mean.get("points") == f"0.0,{60 - 60 * 0.05 / 1.1:.1f} 100.0,{60 * 0.05 / 1.1:.1f}"
    assert mean.get("data-label") == "a & b"
    assert root.get("aria-label") == "<loss>"
    assert root.find("polygon") is None, "a band without width is not drawn"


def test_chart_shows_rules_even_beyond_the_data() -> None:
    """A target above every return is inside the drawing."""
    low = Spread(np.array([0.0, 10.0]), np.array([1.0, 2.0]), np.array([0.5, 1.0]), np.array([1.5, 3.0]))
    chart = Chart(title="return", end=10, means=[Mean("a", low)], rules=[Rule("target", "target 100", 100.0)])
    root = ElementTree.fromstring(chart.svg())
    label = root.find("text[@class='rule target']")
    assert label is not None
    assert label.text == "target 100"
    assert 0 <= float(label.get("y", -1)) <= 150
    assert root.find("polygon") is not None
