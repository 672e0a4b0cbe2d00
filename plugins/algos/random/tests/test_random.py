"""The random policy: valid, uniform, reproducible, and undisturbed by evaluation."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from slmk import EnvInfo, Model, Parts
from slmk.state import get_state, set_state
from slmk_algo_random import RandomConfig
from slmk_algo_random.uniform import Uniform

SPACES = {
    "discrete": spaces.Discrete(3, start=-1),
    "multi-discrete": spaces.MultiDiscrete([2, 5], start=[1, 0]),
    "multi-discrete matrix": spaces.MultiDiscrete([[2, 3], [4, 5]]),
    "multi-binary": spaces.MultiBinary([2, 3]),
    "box": spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 10.0], np.float32)),
    "box matrix": spaces.Box(-1.0, 1.0, (2, 3), np.float64),
    "box scalar": spaces.Box(0.0, 1.0, ()),
    "integer box": spaces.Box(0, 3, (2,), np.uint8),
    "open box": spaces.Box(-np.inf, np.inf, (2,)),
    "half-open box": spaces.Box(np.array([1.0, -np.inf], np.float32), np.array([np.inf, -1.0], np.float32)),
    "widest box": spaces.Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (2,)),
}


def build(space: spaces.Space[object], seed: int = 0) -> Uniform:
    """The algorithm for an action space, with its own stream."""
    cpu = torch.device("cpu")
    info = EnvInfo(4, {"obs": spaces.Box(-1, 1, (1,))}, space, cpu)
    parts = Parts(Model({}, {}, {}), {}, torch.Generator().manual_seed(seed), "off", 0, 0)
    return Uniform(RandomConfig(), info, parts)


def obs(count: int) -> dict[str, torch.Tensor]:
    """Observations of `count` environments."""
    return {"obs": torch.zeros(count, 1)}


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("count", [1, 200])
def test_actions_are_valid(name: str, count: int) -> None:
    """Acting and evaluating give members of the space, dtype and shape included, for any number of environments."""
    space = SPACES[name]
    algorithm = build(space)
    for actions in (algorithm.act(obs(count), 0.0).action, algorithm.policy(obs(count))):
        assert len(actions) == count
        for action in actions:
            assert space.contains(action.numpy()), f"{action} is not in {space}"


def test_integers_are_uniform() -> None:
    """Each of 0 to 3 is drawn a quarter of the time, within four standard errors of 40 000 draws."""
    actions = build(SPACES["integer box"]).act(obs(20_000), 0.0).action.flatten().long()
    frequency = actions.bincount(minlength=4) / len(actions)
    assert ((frequency - 0.25).abs() < 4 * math.sqrt(0.25 * 0.75 / len(actions))).all()


def test_bounded_numbers_are_uniform() -> None:
    """Mean and variance of draws from [0, 10] are 5 and 100 / 12, within four standard errors."""
    actions = build(SPACES["box"]).act(obs(40_000), 0.0).action[:, 1].double()
    assert abs(actions.mean().item() - 5) < 4 * math.sqrt(100 / 12 / 40_000)
    assert actions.var().item() == pytest.approx(100 / 12, rel=0.03)


def test_unbounded_numbers_are_standard_normal() -> None:
    """Mean 0 and deviation 1, within four standard errors of 40 000 draws."""
    actions = build(SPACES["open box"]).act(obs(20_000), 0.0).action.double()
    assert abs(actions.mean().item()) < 4 / math.sqrt(40_000)
    assert abs(actions.std().item() - 1) < 4 / math.sqrt(80_000)


def test_the_mask_is_honoured() -> None:
    """Where only the first and the last of three actions are allowed, both are drawn and nothing else."""
    mask = torch.tensor([1, 0, 1], dtype=torch.int8).expand(500, 3)
    actions = build(SPACES["discrete"]).act(obs(500) | {"mask": mask}, 0.0).action
    assert set(actions.tolist()) == {-1, 1}


def test_evaluation_leaves_training_alone() -> None:
    """The actions of training are the same whether or not the policy is evaluated, which has a stream of its own."""
    plain, evaluated = build(SPACES["open box"]), build(SPACES["open box"])
    evaluation = evaluated.policy(obs(4))
    action = plain.act(obs(4), 0.0).action
    assert torch.equal(evaluated.act(obs(4), 0.0).action, action)
    assert not torch.equal(evaluation, action)


def test_state_is_exact() -> None:
    """Restored, another instance goes on with the same actions, in training and in evaluation."""
    a, b = build(SPACES["box"]), build(SPACES["box"], seed=1)
    a.act(obs(4), 0.0)
    a.policy(obs(4))
    set_state(b, copy.deepcopy(get_state(a)))
    assert torch.equal(a.act(obs(4), 0.0).action, b.act(obs(4), 0.0).action)
    assert torch.equal(a.policy(obs(4)), b.policy(obs(4)))


def test_nothing_is_learned() -> None:
    """There are no networks, no memory is read and no metrics come back."""
    algorithm = build(SPACES["discrete"])
    assert not Uniform.roles(algorithm_config := RandomConfig(), None)
    assert algorithm_config.horizon == algorithm.horizon == 128
    assert algorithm.learn(None, 0.0) == {}
