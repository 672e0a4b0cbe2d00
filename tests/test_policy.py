"""A policy asks for what it reads, and for nothing that was there for training alone."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

import slmk
from slmk import Policy, SpecError
from slmk.assembly import Agent
from slmk.loop import iterate
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
