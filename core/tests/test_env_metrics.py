"""Rows of metrics, of the environment's too, and state of an environment that outlives episodes."""

from dataclasses import replace

import torch

from slmk.checkpoint import Checkpoints
from slmk.loop import _train_row, train
from slmk.session import Session
from slmk.spec import load
from slmk.testing.toy_runs import toy_spec


class Curriculum:
    """An environment whose state is not exact, but for the level of difficulty."""

    def __init__(self, env):
        self.env, self.info, self.level, self.resets = env, replace(env.info, exact_state=False), 1, 0

    def reset(self, seed=None):
        self.resets += 1
        return self.env.reset(seed)

    def metrics(self):
        return {"env/level": torch.tensor(self.level)}

    def state_dict(self):
        return {"level": self.level}

    def load_state_dict(self, state):
        self.level = state["level"]


def run_on_a_curriculum():
    run = Session(load(toy_spec()), seed=0)
    run.env = run.backend = Curriculum(run.env)
    return run


def test_figures_of_the_environment_are_reported_with_those_of_the_algorithm():
    """One row has both, as numbers."""
    run = run_on_a_curriculum()
    run.metrics = {"loss/policy": torch.tensor(0.5)}
    row = _train_row(run)
    assert (row["env/level"], row["loss/policy"]) == (1.0, 0.5)


class Alternating:
    """`learn` returns the number of the update, as one metric; and as a second for every third."""

    def __init__(self, algorithm):
        self.algorithm, self.updates = algorithm, 0

    def __getattr__(self, name):
        return getattr(self.algorithm, name)

    def learn(self, memory, progress):
        self.updates += 1
        often = {"loss/critic": torch.tensor(self.updates)}
        return often | {"loss/actor": torch.tensor(self.updates)} if self.updates % 3 == 1 else often


def test_a_row_has_the_latest_value_of_each_metric_since_the_one_before(tmp_path):
    """Also of one that the last update before the row did not return: here the first of three did."""
    spec = toy_spec()
    spec["run"] |= {"env_steps": 144, "report_every": 48, "eval_episodes": 0}
    run = Session(load(spec), seed=0)
    assert run.steps_per_iteration == 16
    run.algorithm = Alternating(run.algorithm)
    rows = []
    train(run, Checkpoints(tmp_path), rows.append)
    told = [(row["loss/critic"], row["loss/actor"]) for row in rows if row["kind"] == "train"]
    assert told == [(3, 1), (6, 4), (9, 7)]


def test_metrics_between_two_rows_outlive_a_resume():
    """They are part of what a run saves."""
    straight, resumed = run_on_a_curriculum(), run_on_a_curriculum()
    straight.metrics = {"loss/actor": torch.tensor(2.0)}
    resumed.load_state_dict(straight.state_dict())
    assert _train_row(resumed)["loss/actor"] == 2.0


def test_a_curriculum_outlives_a_resume_and_the_episodes_restart():
    """State that is not exact is in the checkpoint; new episodes begin at the level that was reached."""
    straight, resumed = run_on_a_curriculum(), run_on_a_curriculum()
    straight.env.level = 3
    resumed.load_state_dict(straight.state_dict())
    assert (resumed.env.level, resumed.env.resets) == (3, 1)


def test_an_algorithm_is_told_that_episodes_do_not_go_on():
    """Where they begin anew after a resume, what it keeps of the running ones would be joined to others."""
    straight, resumed = run_on_a_curriculum(), run_on_a_curriculum()
    told = []
    resumed.algorithm.abandon = lambda: told.append(resumed.env.resets)
    resumed.load_state_dict(straight.state_dict())
    assert told == [1]
