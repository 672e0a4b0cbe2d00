"""A policy asks for what it reads, and for nothing that was there for training alone."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

import slmk
from slmk import CheckpointError, Policy, SpecError
from slmk.assembly import Agent
from slmk.checkpoint import write_checkpoint
from slmk.loop import iterate
from slmk.policy import find_checkpoint
from slmk.run import Run
from slmk.scoring import _require_same_spaces

MLP, GRU = {"name": "mlp", "hidden": [16]}, {"name": "recurrent", "hidden": 8, "window": 16}
LEFT, RIGHT = {"obs": ["left"]}, {"obs": ["right"]}


@pytest.fixture
def trained(slmk_registry):
    """Makes a policy with these networks, trained a little in the toy that has the groups ``left`` and ``right``."""

    def train(**networks) -> Policy:
        spec = {
            "run": {"env_steps": 400, "compile": "off"},
            "env": {"name": "toy-groups"},
            "algorithm": {"name": "ppo", "horizon": 16, "minibatches": 1, "epochs": 1},
            "memory": {"name": "rollout"},
            "network": networks,
            "normalizer": {"obs": {"name": "running"}},
        }
        run = Run(slmk.load(spec, registry=slmk_registry), 0, slmk_registry)
        for _ in islice(iterate(run), 3):
            pass
        return Policy(Agent(run.algorithm, run.recurrence), run.env.info)

    return train


def drawn(policy, name, count=5):
    space = policy.env.observation_spaces[name]
    return np.stack([np.asarray(space.sample(), np.float32) for _ in range(count)])


def test_what_only_the_critic_reads_is_not_asked_for(trained):
    """With it, without it, and with the one group alone, the policy does the same."""
    policy = trained(actor=MLP | LEFT, critic=MLP | RIGHT)
    assert policy.reads == ("left",)
    left, right = drawn(policy, "left"), drawn(policy, "right")
    action = policy({"left": left, "right": right})
    assert np.array_equal(policy({"left": left}), action)
    assert np.array_equal(policy(left), action)
    for wrong in ({"right": right}, {"left": left, "middle": left}):
        with pytest.raises(ValueError, match=r"expected the observation groups \['left'\]"):
            policy(wrong)


def test_a_critic_that_remembers_is_left_alone(trained):
    """Only the actor's memory is kept from call to call."""
    policy = trained(actor=GRU | LEFT, critic=GRU | RIGHT)
    assert policy.reads == ("left",)
    left = drawn(policy, "left")
    policy(left)
    assert set(policy._carries) == {"carry/actor"}
    plain = trained(actor=MLP | LEFT, critic=GRU | RIGHT)
    plain(left)
    assert plain._carries == {}


def test_it_can_be_scored_where_there_is_nothing_else(trained):
    """`slmk eval` on another simulator compares the groups that the policy reads."""
    policy = trained(actor=MLP | LEFT, critic=MLP | RIGHT)
    spaces = policy.env.observation_spaces
    _require_same_spaces(policy, replace(policy.env, observation_spaces={"left": spaces["left"]}))
    with pytest.raises(SpecError, match=r"trained with other observations .*found \{\}"):
        _require_same_spaces(policy, replace(policy.env, observation_spaces={"right": spaces["right"]}))


@pytest.fixture
def made(tmp_path):
    """Makes a run of sessions whose checkpoints were written when the best evaluation was this."""

    def make(best_of_seeds):
        for seed, best in best_of_seeds.items():
            write_checkpoint(tmp_path / f"seed-{seed}" / "checkpoints" / "000000000100", {"best": best}, {})
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("best_of_seeds", "chosen"),
    [
        ({0: 10.0, 1: 30.0, 2: 20.0}, 1),
        ({0: -30.0, 1: None, 2: -20.0}, 2),
        ({8: 10.0, 9: 10.0, 10: 10.0}, 8),
        ({9: None, 10: None}, 9),
        ({9: float("nan"), 10: 10.0}, 10),
    ],
)
def test_of_a_run_it_is_the_seed_with_the_best_evaluation(best_of_seeds, chosen, made):
    """One that was never evaluated, or had no number, comes behind; of equals the first one by its number counts."""
    run = made(best_of_seeds)
    assert find_checkpoint(run) == run / f"seed-{chosen}" / "checkpoints" / "000000000100"


def test_of_a_session_it_is_the_checkpoint_that_is_marked(made):
    """In a run, too, where it is the older one; a session or a checkpoint that was asked for is not compared."""
    run = made({0: 10.0, 1: 30.0})
    checkpoints = run / "seed-1" / "checkpoints"
    write_checkpoint(checkpoints / "000000000200", {"best": 30.0}, {})
    (checkpoints / "best").write_text("000000000100")
    assert find_checkpoint(run) == find_checkpoint(run / "seed-1") == checkpoints / "000000000100"
    assert find_checkpoint(checkpoints / "000000000200") == checkpoints / "000000000200"
    assert find_checkpoint(run / "seed-0").parent == run / "seed-0" / "checkpoints"


def test_a_run_without_checkpoints_has_no_policy(tmp_path):
    """What was expected is said."""
    (tmp_path / "seed-0").mkdir()
    with pytest.raises(CheckpointError, match="expected a run, a seed-"):
        find_checkpoint(tmp_path)
