"""Whom the loop evaluates and which evaluation it takes for the best; which episodes count, and which has no score."""

import math

import pytest
import torch
from gymnasium import spaces

from slmk import evaluation
from slmk.batch import Step
from slmk.checkpoint import Checkpoints, read_checkpoint
from slmk.env_info import EnvInfo
from slmk.evaluation import Episodes, play
from slmk.loop import iterate, train
from slmk.model import Model
from slmk.recurrence import Recurrence
from slmk.session import Session
from slmk.spec import load
from slmk.statistics import finite
from slmk.testing.toy_runs import toy_spec

NAN, STEPS = math.nan, 16
"""Environment steps between two evaluations."""


def run_evaluated_as(*means: float) -> Session:
    """A run whose evaluations give these means, one in each iteration."""
    spec = toy_spec()
    spec["run"] |= {"env_steps": STEPS * len(means), "eval_every": STEPS}
    run, left = Session(load(spec), seed=0), iter(means)
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


def test_the_policy_is_evaluated_and_not_how_it_explores(tmp_path):
    """Evaluations are told the algorithm's policy, and after how many steps."""
    run, told = run_evaluated_as(1.0, 2.0), []
    run.evaluator = lambda *given: told.append(given) or Episodes((1.0,), (1,))
    train(run, Checkpoints(tmp_path), lambda row: None)
    assert told == [(run.algorithm.policy, STEPS), (run.algorithm.policy, 2 * STEPS)]


def test_episodes_begin_anew_every_so_many_steps():
    """In all environments at once, between two iterations; their random streams go on."""
    spec = toy_spec()
    spec["run"] |= {"env_steps": 7 * STEPS, "restart_every": 2 * STEPS + 1}
    run, resets = Session(load(spec), seed=0), {}
    reset = run.env.reset
    run.env.reset = lambda seed: resets.update({run.env_steps: seed}) or reset(seed)
    for _ in iterate(run):
        pass
    assert resets == {3 * STEPS: None, 5 * STEPS: None}  # 7 passes the third multiple, and there the run ends.


def test_a_best_that_was_stored_as_nan_is_none(tmp_path):
    """A run that was saved so goes on as if it never had been evaluated."""
    saved, resumed = run_evaluated_as(1.0), run_evaluated_as(1.0)
    saved.best = NAN
    Checkpoints(tmp_path).save(saved)
    resumed.load_state_dict(read_checkpoint(tmp_path / "000000000000")[0])
    assert resumed.best is None


@pytest.mark.parametrize(("action", "expected"), [(torch.zeros(2), 3.0), (torch.tensor([0.0, NAN]), None)])
def test_an_episode_of_actions_that_are_no_numbers_has_no_return(action, expected):
    """Some simulators take them for 0, and would give a finite score to a policy that has diverged."""
    env = Lenient()
    played = play(env, lambda obs: action[:, None], Recurrence(Model({}, {}, {})), 2, seed=0)
    assert played.returns[0] == 3.0
    assert finite(played.returns[1]) == expected
    assert finite(played.as_row()["eval/return_mean"]) == expected


def test_an_episode_that_nothing_ends_is_the_last_of_its_environment(monkeypatch):
    """What follows where it was cut has no beginning, and is counted as none: there are fewer episodes instead."""
    monkeypatch.setattr(evaluation, "MAX_EPISODE_STEPS", 4)
    played = play(Lenient(lengths=(3, 1000)), lambda obs: torch.zeros(2, 1), Recurrence(Model({}, {}, {})), 6, seed=0)
    assert played.lengths == (3, 3, 3, 4)
    assert played.returns == (3.0, 3.0, 3.0, 4.0)
    assert played.as_row()["eval/episodes"] == 4


def test_every_environment_plays_its_share():
    """Short episodes end more often, and count no more than others: of four, two pay 0 in 1 step and two 3 in 3."""
    env = Lenient(lengths=(1, 3), rewards=(0.0, 1.0))
    played = play(env, lambda obs: torch.zeros(2, 1), Recurrence(Model({}, {}, {})), 4, seed=0)
    assert played.returns == (0.0, 0.0, 3.0, 3.0)
    assert played.lengths == (1, 1, 3, 3)


class Lenient:
    """Two environments whose episodes have three steps and a reward of 1 in each, whatever the action is."""

    info = EnvInfo(2, {"obs": spaces.Box(-1, 1, (1,))}, spaces.Box(-1, 1, (1,)), torch.device("cpu"))

    def __init__(self, lengths=(3, 3), rewards=(1.0, 1.0)):
        self.lengths, self.rewards = torch.tensor(lengths), torch.tensor(rewards)

    def reset(self, seed=None):
        self.steps = 0
        return {"obs": torch.zeros(2, 1)}

    def step(self, action):
        self.steps += 1
        no = torch.zeros(2, dtype=torch.bool)
        obs = {"obs": torch.zeros(2, 1)}
        return Step(obs, obs, self.rewards, no, self.steps % self.lengths == 0)
