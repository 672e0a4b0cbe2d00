"""The measures of sessions and trials, with curves small enough to work out by hand."""

import numpy as np
import pytest

from slmk.metrics import (
    SCORES,
    consistency,
    efficiency,
    headline,
    session_summary,
    shortfall,
    stability,
    trial_summary,
)

RANDOM = 20.0
TARGET = {"score": 100.0, "metric": "final_return_ma", "source": "by hand"}


def curve(returns, seed=0):
    """Rows at 100, 200, … env steps and after 1, 2, … updates."""
    return [
        {
            "kind": "train",
            "seed": seed,
            "env_steps": 100 * (index + 1),
            "updates": index + 1,
            "episode/return_ma": value,
            "episode/count": 10 * index,
            "time/elapsed_s": 0.5 * (index + 1),
            "time/env_steps_per_s": 200.0,
        }
        for index, value in enumerate(returns)
    ]


def test_the_measures_of_a_session():
    """Returns 30, 120, 100 above a random 20 are strengths 10, 100, 80; every measure follows by hand."""
    rows = [
        *curve([None, 30.0, 120.0, 100.0]),
        {"kind": "eval", "seed": 0, "env_steps": 200, "eval/return_mean": 50.0},
        {"kind": "eval", "seed": 0, "env_steps": 400, "eval/return_mean": 110.0},
    ]
    summary = session_summary(rows, RANDOM)
    assert summary == {
        "seed": 0,
        "env_steps": 400,
        "updates": 4,
        "episodes": 30,
        "final_return_ma": 100.0,
        "max_return_ma": 120.0,
        "strength": pytest.approx(190 / 3),
        "max_strength": 100.0,
        "final_strength": 80.0,
        # (10/200 + 100/300 + 80/400) / 190, and the same per update.
        "sample_efficiency": pytest.approx((0.05 + 1 / 3 + 0.2) / 190),
        "training_efficiency": pytest.approx((5 + 100 / 3 + 20) / 190),
        # It falls once, by 20, while the strengths it falls from add up to 110.
        "stability": pytest.approx(1 - 20 / 110),
        "final_eval_return": 110.0,
        "time/elapsed_s": 2.0,
        "time/env_steps_per_s": 200.0,
    }


def test_a_session_without_a_random_baseline_has_no_strengths():
    """Returns are known, everything relative to the random policy is null."""
    summary = session_summary(curve([30.0, 120.0]), None)
    assert (summary["final_return_ma"], summary["max_return_ma"]) == (120.0, 120.0)
    assert {summary[name] for name in SCORES if "strength" in name or "efficiency" in name} == {None}
    assert summary["stability"] is None


@pytest.mark.parametrize("rows", [[], curve([None, None]), curve([float("nan")])], ids=["empty", "no ends", "nan"])
def test_a_session_without_returns_has_null_scores(rows):
    """No row, no episode that ended, and returns that are not numbers give null, not an error."""
    summary = session_summary(rows, RANDOM)
    assert {summary[name] for name in SCORES} == {None}


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf")])
def test_a_session_that_has_diverged_has_no_final_scores(nothing):
    """What it had before is its best, not its last; an evaluation of that kind is none."""
    lost = {"kind": "eval", "seed": 0, "env_steps": 300, "eval/return_mean": nothing}
    rows = [*curve([None, 480.0, nothing]), {**lost, "env_steps": 200, "eval/return_mean": 480.0}, lost]
    summary = session_summary(rows, RANDOM)
    assert (summary["env_steps"], summary["max_return_ma"], summary["max_strength"]) == (300, 480.0, 460.0)
    assert {summary[name] for name in SCORES if name.startswith("final")} == {None}


def test_steady_and_early_strength_is_best():
    """Without a fall stability is 1; strength in the first row only is as efficient as that row is early."""
    assert session_summary(curve([30.0, 40.0, 40.0]), RANDOM)["stability"] == 1.0
    assert efficiency(np.array([5.0, 0.0]), np.array([10.0, 20.0])) == 0.1


def test_an_agent_below_random_has_no_ratios():
    """Where strengths add up to nothing positive, ratios to their sum mean nothing and are null."""
    losing = np.array([-5.0, -1.0])
    assert efficiency(losing, np.array([10.0, 20.0])) is None
    assert stability(losing) is None
    assert session_summary(curve([10.0, 15.0]), RANDOM)["final_strength"] == -5.0


def test_no_update_means_no_training_efficiency():
    """The random policy never updates; its sample efficiency is still known."""
    rows = [{**row, "updates": 0} for row in curve([30.0, 30.0])]
    summary = session_summary(rows, RANDOM)
    assert summary["training_efficiency"] is None
    assert summary["sample_efficiency"] == pytest.approx((10 / 100 + 10 / 200) / 20)


def test_consistency_by_hand():
    """Strengths (10, 20) and (30, 40) have means 20, 30 and sample deviations √200: 1 − 4√200 / 50."""
    curves = [curve([30.0, 40.0]), curve([50.0, 60.0], seed=1)]
    assert consistency(curves, RANDOM) == pytest.approx(1 - 4 * 200**0.5 / 50)
    assert consistency([curves[0], curves[0]], RANDOM) == 1.0


def test_consistency_compares_only_rows_that_all_sessions_have():
    """A row before one session's first episode, or beyond its end, is left out."""
    curves = [curve([30.0, 40.0, 999.0]), curve([None, 40.0], seed=1)]
    assert consistency(curves, RANDOM) == 1.0
    assert consistency([curve([30.0]), curve([None])], RANDOM) is None


@pytest.mark.parametrize(("curves", "baseline"), [([curve([30.0])], RANDOM), ([curve([30.0])] * 2, None), ([], RANDOM)])
def test_consistency_needs_two_sessions_and_a_baseline(curves, baseline):
    """Otherwise it is null."""
    assert consistency(curves, baseline) is None


def trial(*returns, target=TARGET, seeds=None):
    curves = [curve(values, seed) for seed, values in enumerate(returns)]
    sessions = [session_summary(rows, RANDOM) for rows in curves]
    return trial_summary("toy", sessions, curves, RANDOM, target, seeds=seeds or len(curves))


def test_a_trial_describes_every_score_over_its_seeds():
    """Final returns 80 and 140 have mean 110, which reaches a target of 100."""
    summary = trial([30.0, 80.0], [30.0, 140.0])
    assert set(summary["scores"]) == set(SCORES)
    final = summary["scores"]["final_return_ma"]
    assert final["values"] == [80.0, 140.0]
    assert (final["mean"], final["iqm"], final["ci95"]) == (110.0, 110.0, [80.0, 140.0])
    assert summary["target"] == {**TARGET, "value": 110.0, "reached": True}
    assert (summary["name"], summary["env_steps"], summary["random_return"]) == ("toy", 200, RANDOM)
    assert [session["seed"] for session in summary["sessions"]] == [0, 1]


def test_a_target_is_missed_when_the_mean_is_below_it_or_unknown():
    """99 is below 100; without returns nothing is reached; without a target there is no verdict."""
    assert not trial([99.0])["target"]["reached"]
    assert trial([None])["target"] == {**TARGET, "value": None, "reached": False}
    assert trial([99.0], target=None)["target"] is None


def test_who_misses_a_target_early_is_told_so():
    """A run of half the steps of its target's source is said to be so, unless it has reached the score."""
    early = {**TARGET, "env_steps": 400}
    assert shortfall(trial([30.0, 99.0], target=early)) == "after 200 of 400 env steps"
    assert shortfall(trial([30.0, 100.0], target=early)) == ""
    assert shortfall(trial([30.0, 99.0], target={**TARGET, "env_steps": 200})) == ""
    assert shortfall(trial([30.0, 99.0])) == ""
    assert shortfall(trial([30.0, 99.0], target=None)) == ""


def test_a_target_is_missed_when_a_seed_has_no_score():
    """Three seeds at 480 do not make up for one that has diverged, or in which no episode ended."""
    fine = [30.0, 480.0]
    for lost in ([480.0, None], [None, None]):
        summary = trial(fine, fine, fine, lost)
        assert summary["target"] == {**TARGET, "value": None, "reached": False}
        assert summary["scores"]["final_return_ma"]["values"] == [480.0, 480.0, 480.0, None]


def test_a_target_is_missed_while_a_seed_is_missing():
    """Of three seeds the first two are at 480: what the third makes of it is not known yet."""
    summary = trial([30.0, 480.0], [30.0, 480.0], seeds=3)
    assert summary["scores"]["final_return_ma"]["mean"] == 480.0
    assert summary["target"] == {**TARGET, "value": None, "reached": False}


def test_a_trial_is_known_by_its_target_or_by_what_there_is():
    """Where training ends no episode, evaluations have the only returns."""
    score = {"mean": 1.0}
    scores = {"final_return_ma": score, "final_eval_return": {"mean": 2.0}, "max_return_ma": {"mean": 3.0}}
    assert headline({"scores": scores, "target": None}) is score
    assert headline({"scores": scores, "target": {"metric": "max_return_ma"}})["mean"] == 3.0
    assert headline({"scores": scores | {"final_return_ma": {"mean": None}}, "target": None})["mean"] == 2.0
