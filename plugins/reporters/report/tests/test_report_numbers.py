"""Numbers in words, scales and ticks, against values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from slmk_reporter_report.formats import duration, interval, level, number, spread, tick_labels, value
from slmk_reporter_report.scale import Scale, fit


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (None, "–"),
        (0.0, "0.00"),
        (1234.5, "1,234"),
        (123.45, "123.5"),
        (-1.234, "−1.23"),
        (0.0123, "0.012"),
        (0.0000321, "3.21×10⁻⁵"),
        (0.00000999999, "1.00×10⁻⁵"),
        (25_000_000, "2.50×10⁷"),
        (float("nan"), "nan"),
    ],
)
def test_number_has_about_four_digits(x: float | None, text: str) -> None:
    """Decimals follow the size; very small and very large numbers have a power of ten."""
    assert number(x) == text


def test_spread_and_interval_share_their_decimals() -> None:
    """Both parts have the decimals, and the power of ten, of the leading one."""
    assert spread(499.6, 0.8131) == "499.6 ± 0.8"
    assert spread(1.5e-5, 2e-6) == "(1.50 ± 0.20)×10⁻⁵"
    assert spread(None, None) == interval(None) == "–"
    assert interval([9.5, 100.25]) == "[9.5, 100.2]"
    assert interval([8e-6, 1.2e-5]) == "[0.80, 1.20]×10⁻⁵"


def test_targets_durations_and_spec_values_read_as_people_write_them() -> None:
    """475.0 is 475; times have two units; booleans and lists are those of TOML."""
    assert (level(475.0), level(0.5), level(-150)) == ("475", "0.5", "−150")
    assert [duration(s) for s in (None, 34.4, 725, 12_000)] == ["–", "34 s", "12 min 05 s", "3 h 20 min"]
    assert [value(x) for x in (None, True, [64, 64], [], 0.99)] == ["–", "true", "64, 64", "empty", "0.99"]


def test_tick_labels_share_a_unit() -> None:
    """An axis that reaches ten thousand is in thousands, one that reaches a million in millions."""
    assert tick_labels([0, 50_000, 100_000]) == ["0", "50k", "100k"]
    assert tick_labels([0, 5e5, 1e6]) == ["0", "0.5M", "1M"]
    assert tick_labels([-0.02, 0, 0.02]) == ["−0.02", "0", "0.02"]


def test_scale_maps_ends_and_middle() -> None:
    """A value half-way lies half-way; on a logarithmic scale 10 lies half-way between 1 and 100."""
    assert Scale(0, 10, 100, 0)([0, 5, 10]).tolist() == [100, 50, 0]
    assert Scale(1, 100, 0, 60, log=True)([1, 10, 100]).tolist() == [0, 30, 60]


def test_ticks_are_round_and_inside() -> None:
    """Steps are 1, 2 or 5 times a power of ten, and 0 is exactly 0."""
    assert Scale(-3, 525, 0, 1).ticks(6) == [0, 100, 200, 300, 400, 500]
    assert Scale(-0.5, 0.5, 0, 1).ticks(4) == pytest.approx([-0.5, 0, 0.5])
    assert Scale(0.002, 500, 0, 1, log=True).ticks(4) == pytest.approx([0.01, 1, 100])


def test_fit_leaves_a_margin_and_chooses_a_logarithmic_axis() -> None:
    """Data from 0 to 100 get 5 % at both ends; positive data over more than three decades are logarithmic."""
    plain = fit([np.array([0.0, 40.0]), np.array([100.0])], 200, 0)
    assert (plain.low, plain.high, plain.log) == (-5, 105, False)
    assert fit([np.array([0.001, 2.0])], 200, 0).log
    assert not fit([np.array([-0.001, 2.0])], 200, 0).log


@pytest.mark.parametrize("data", [[], [np.array([0.0])], [np.array([500.0, 500.0])], [np.array([-2.0])]])
def test_fit_of_constant_or_no_data_has_a_height(data: list[np.ndarray]) -> None:
    """Data without spread lie inside a scale that can be drawn."""
    scale = fit(data, 200, 0)
    assert scale.low < scale.high
    assert all(scale.low <= x <= scale.high for x in np.concatenate([np.empty(0), *data]))
