"""Scores over seeds, against scipy's figures (version 1.17, stated in the tests) and numbers worked out by hand."""

import numpy as np
import pytest

from slmk.statistics import bootstrap_interval, describe, finite, iqm, probability_of_improvement

SCORES = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (SCORES, 3.857142857142857),
        ([1, 2, 3], 2.0),
        ([1, 2, 3, 4], 2.5),
        ([0, 10, 20, 30, 100], 20.0),
        (np.arange(20).reshape(5, 4) ** 2, 98.5),
    ],
)
def test_iqm_equals_scipys_trimmed_mean(scores, expected):
    """The interquartile mean is ``scipy.stats.trim_mean(scores, 0.25, axis=None)``."""
    assert iqm(scores) == pytest.approx(expected, abs=1e-12)


def test_iqm_along_an_axis():
    """Along axis 0 it is scipy's trimmed mean of each column."""
    columns = iqm(np.arange(20).reshape(5, 4) ** 2, axis=0)
    assert columns == pytest.approx([74.66666667, 91.66666667, 110.66666667, 131.66666667])


def test_iqm_ignores_an_outlier_on_either_side():
    """With four scores the best and the worst do not count."""
    assert iqm([-1e9, 2, 4, 1e9]) == 3.0


@pytest.mark.parametrize(
    ("statistic", "expected"), [(np.mean, (2.7273, 5.3636)), (iqm, (2.4286, 5.2857))], ids=["mean", "iqm"]
)
def test_bootstrap_agrees_with_scipy(statistic, expected):
    """With one task it is ``scipy.stats.bootstrap(method="percentile")`` (100,000 resamples) up to noise."""
    assert bootstrap_interval(SCORES, statistic) == pytest.approx(expected, abs=0.15)


def test_bootstrap_of_two_seeds_is_enumerable():
    """The mean of two redrawn seeds 0 and 1 is 0, ½ or 1 with chances ¼, ½, ¼: the 95 % interval is all, 40 % is ½."""
    assert bootstrap_interval([0.0, 1.0], np.mean) == (0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], np.mean, level=0.4) == (0.5, 0.5)


def test_bootstrap_is_stratified_by_task():
    """Two tasks whose seeds agree leave no doubt about the mean, however far apart the tasks are."""
    assert bootstrap_interval([[0.0, 100.0]] * 3, np.mean) == (50.0, 50.0)


def test_bootstrap_draws_the_seeds_of_each_task_apart():
    """Opposite scores in two tasks would cancel if whole rows were drawn; drawn apart, the interval has a width."""
    low, high = bootstrap_interval([[0.0, 1.0], [1.0, 0.0]], np.mean)
    assert (low, high) == (0.0, 1.0)


def test_bootstrap_repeats_itself_and_leaves_global_randomness_alone():
    """The same scores give the same interval, and numpy's global stream does not move."""
    np.random.seed(3)
    before = np.random.get_state()[1].tolist()
    assert bootstrap_interval(SCORES) == bootstrap_interval(SCORES)
    assert np.random.get_state()[1].tolist() == before


def test_probability_of_improvement_is_the_scaled_mann_whitney_statistic():
    """Of 12 pairs 9 are won and one is drawn: 9.5 / 12, which is scipy's ``mannwhitneyu(a, b).statistic / 12``."""
    ours, theirs = [7.0, 3.0, 9.0, 5.0], [5.0, 4.0, 1.0]
    assert probability_of_improvement(ours, theirs) == pytest.approx(0.7916666666666666)
    assert probability_of_improvement(theirs, ours) == pytest.approx(1 - 0.7916666666666666)
    assert probability_of_improvement(ours, ours) == 0.5


def test_finite_leaves_numbers_alone():
    """Anything else is None."""
    assert [finite(x) for x in (0.0, -2.5, None, float("nan"), float("-inf"))] == [0.0, -2.5, None, None, None]


def test_describe_leaves_out_what_is_missing():
    """None and NaN are kept among the values and counted in nothing: 1 and 3 have mean 2 and sample deviation √2."""
    score = describe([1.0, None, 3.0, float("nan")])
    assert score["values"][1] is None
    assert (score["mean"], score["iqm"]) == (2.0, 2.0)
    assert score["std"] == pytest.approx(2**0.5)
    assert score["ci95"] == [1.0, 3.0]


def test_describe_of_one_seed_and_of_none():
    """One seed has no spread; without any value there are no statistics."""
    assert describe([4.0]) == {"values": [4.0], "mean": 4.0, "std": None, "iqm": 4.0, "ci95": None}
    assert describe([None]) == {"values": [None], "mean": None, "std": None, "iqm": None, "ci95": None}
