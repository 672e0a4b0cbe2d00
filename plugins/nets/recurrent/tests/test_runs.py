"""Whole runs of PPO with recurrent networks: acting, resuming, loading, and what a spec must say."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

import slmk
from slmk import Policy
from slmk.checkpoint import Checkpoints
from slmk.loop import iterate
from slmk.session import Session
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import equal, first_difference

NETWORK = {"name": "recurrent", "hidden": 8, "encoder": [8], "window": 4}
SPEC: dict[str, Any] = {
    "run": {"env_steps": 10_000, "compile": "off", "eval_episodes": 4},
    "env": {"name": "gymnasium", "id": "CartPole-v1", "num_envs": 3, "keep": {"obs": [0, 2]}},
    "algorithm": {"name": "ppo", "horizon": 16, "minibatches": 2, "epochs": 2},
    "memory": {"name": "rollout"},
    "network": {"actor": NETWORK, "critic": NETWORK},
}


def make_run(*overrides: str, **sections: Any) -> Session:
    """A short run of one seed."""
    return Session(slmk.load({**SPEC, **sections}, overrides), seed=0)


def learn(run: Session, iterations: int) -> list[Any]:
    """The metrics of so many iterations."""
    return list(islice(iterate(run), iterations))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_resume_is_exact_in_the_middle_of_episodes(cell: str) -> None:
    """A resumed run repeats the straight one bit for bit, from what its networks remember of the running episodes."""
    networks = {role: {**NETWORK, "cell": cell} for role in ("actor", "critic")}
    straight, resumed = (make_run(network=networks) for _ in range(2))
    learn(straight, 2)
    state = through_a_file(straight.state_dict())
    assert state["obs"]["carry/actor"].any()
    resumed.load_state_dict(state)
    assert first_difference(learn(straight, 2), learn(resumed, 2)) is None
    before, after = (run.state_dict() | {"seconds": 0} for run in (straight, resumed))
    assert first_difference(before, after) is None


def test_the_first_ratio_of_an_update_is_one() -> None:
    """Unrolling windows from stored carries gives the log-probabilities of acting: before any step, KL is 0."""
    run = make_run("algorithm.epochs=1", "algorithm.minibatches=1")
    (metrics,) = learn(run, 1)
    assert metrics["policy/kl"].abs() < 1e-6
    assert metrics["policy/clipped"] == 0


def saved(run: Session, folder: Path) -> Policy:
    """The policy of a run, through a checkpoint."""
    Checkpoints(folder).save(run, best=True)
    return Policy.load(folder.parent)


def test_a_loaded_policy_acts_as_the_run_did(tmp_path: Path) -> None:
    """Step by step over ends of episodes, it chooses what the run's own policy chooses, told where episodes begin."""
    run = make_run("env.max_episode_steps=7")
    learn(run, 2)
    policy = saved(run, tmp_path / "checkpoints")
    obs = run.recurrence.start(run.env.reset(1))
    for _ in range(20):
        with torch.no_grad():
            action = run.algorithm.policy(obs)
        assert policy(obs["obs"], obs["first"]).tolist() == action.tolist()
        obs = run.recurrence.follow(obs, run.env.step(action)).obs
        (name,) = policy._carries  # The critic's memory is of no use any more.
        assert name == "carry/actor"
        assert equal(policy._carries[name].where(~obs["first"].unsqueeze(-1), 0), obs[name])


CARRIES = ("carry/actor", "carry/critic")


def test_a_policy_that_is_reset_begins_anew(tmp_path: Path) -> None:
    """It remembers from call to call; `reset` and `first` make it forget, for one observation as for a batch."""
    run = make_run()
    learn(run, 1)
    policy, one = saved(run, tmp_path / "checkpoints"), [0.5, 0.1]
    fresh = remembered(policy, one)
    assert remembered(policy, one) != fresh
    policy.reset()
    assert remembered(policy, one) == fresh
    assert remembered(policy, one, first=True) == fresh


def remembered(policy: Policy, obs: list[float], first: bool = False) -> list[float]:
    """What the actor remembers after an observation."""
    policy(obs, first)
    return policy._carries["carry/actor"][0].tolist()


def test_evaluation_leaves_training_alone() -> None:
    """What training remembers is the same before and after an evaluation, which gives the same score twice."""
    run = make_run()
    learn(run, 1)
    before = {name: run.obs[name].clone() for name in CARRIES}
    scores = [run.evaluator(run.algorithm.policy, run.env_steps).returns for _ in range(2)]
    assert scores[0] == scores[1]
    assert all(equal(run.obs[name], x) for name, x in before.items())


def test_segments_of_an_algorithm_are_no_windows() -> None:
    """``ppo_brax`` cuts rollouts into segments of its own, whatever the networks' windows are."""
    algorithm = {"name": "ppo_brax", "unroll_length": 5, "unrolls": 3, "minibatches": 3}
    assert slmk.load(SPEC | {"algorithm": algorithm}).algorithm.config.horizon == 15
