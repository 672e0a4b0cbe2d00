"""Which evaluation the loop takes for the best."""

import math

import pytest

from slmk.checkpoint import Checkpoints, read_checkpoint
from slmk.evaluation import Episodes
from slmk.loop import train
from slmk.run import Run
from slmk.spec import load
from slmk.testing.toy_runs import toy_spec

NAN, STEPS = math.nan, 16
"""Environment steps between two evaluations."""


def run_evaluated_as(*means: float) -> Run:
    """A run whose evaluations give these means, one in each iteration."""
    spec = toy_spec()
    spec["run"] |= {"env_steps": STEPS * len(means), "eval_every": STEPS}
    run, left = Run(load(spec), seed=0), iter(means)
    run.evaluator = lambda policy, env_steps: Episodes((next(left),), (1,))
    assert run.steps_per_iteration == STEPS
    return run


@pytest.mark.parametrize(
    ("means", "best"),
    [
        ((1.0, 3.0, 2.0), 2),
        ((NAN, 3.0, 2.0), 2),
        ((100.0, 450.0, NAN, 3.0, 2.0), 2),
        ((1.0, NAN, 2.0), 3),
        ((1.0, math.inf, 2.0), 3),
        ((NAN, NAN), None),
    ],
)
def test_an_evaluation_that_is_not_finite_is_never_the_best(means, best, tmp_path):
    """Neither first nor later: the best checkpoint is that of the highest number, the `best`-th, if there is one."""
    run, checkpoints = run_evaluated_as(*means), Checkpoints(tmp_path)
    train(run, checkpoints, lambda row: None)
    assert run.best == (None if best is None else means[best - 1])
    assert (tmp_path / "best").exists() == (best is not None)
    assert checkpoints.best() == tmp_path / f"{STEPS * (best or len(means)):012d}"


def test_a_best_that_was_stored_as_nan_is_none(tmp_path):
    """A run that was saved so goes on as if it never had been evaluated."""
    saved, resumed = run_evaluated_as(1.0), run_evaluated_as(1.0)
    saved.best = NAN
    Checkpoints(tmp_path).save(saved)
    resumed.load_state_dict(read_checkpoint(tmp_path / "000000000000", resumed.env.info.device)[0])
    assert resumed.best is None
