"""What ``run.debug`` finds at the step where it happens."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from slmk.checked import CheckedEnv
from slmk.errors import RunError
from slmk.testing.toy_envs import make_toy

N = 3


class Wrong:
    """A toy whose steps are changed by `change`."""

    def __init__(self, change, **info):
        self.env, self.change = make_toy("toy-truncating", N), change
        self.info = replace(self.env.info, **info)

    def reset(self, seed=None):
        return self.env.reset(seed)

    def step(self, action):
        return self.change(self.env.step(action))


def steps(change, action=None, count=12, **info):
    env = CheckedEnv(Wrong(change, **info))
    env.reset()
    return [env.step(torch.zeros(N, dtype=torch.int64) if action is None else action) for _ in range(count)]


def with_final(step, value):
    """The step with another last observation where episodes end."""
    return replace(step, final_obs={name: value(x) for name, x in step.final_obs.items()}) if ends(step) else step


def ends(step):
    return bool((step.terminated | step.truncated).any())


def nan(x):
    return torch.full_like(x, torch.nan)


def test_what_is_right_passes():
    """Last observations of rows that go on may be anything."""
    assert any(map(ends, steps(lambda step: step)))
    lost = steps(lambda step: step if ends(step) else replace(step, final_obs={"obs": nan(step.obs["obs"])}))
    assert any(step.final_obs["obs"].isnan().all() for step in lost)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda step: (step.obs, step.reward), "step() returned a tuple, expected a Step"),
        (lambda step: replace(step, reward=step.reward.numpy()), "reward: a ndarray, expected a tensor"),
        (lambda step: replace(step, reward=step.reward.double()), "reward: torch.float64, expected torch.float32"),
        (lambda step: replace(step, obs=step.obs["obs"]), "obs: a Tensor, expected groups ['obs']"),
        (lambda step: replace(step, obs={"x": step.obs["obs"]}), "obs: groups ['x'], expected groups ['obs']"),
        (lambda step: replace(step, obs={"obs": step.obs["obs"].double()}), "obs['obs']: torch.float64"),
        (lambda step: replace(step, obs={"obs": nan(step.obs["obs"])}), "obs['obs']: not finite in environments [0, 1"),
        (lambda step: replace(step, terminated=step.truncated), "terminated and truncated at once in environments [0"),
        (lambda step: replace(step, final_obs=None), "final_obs: a NoneType, expected groups ['obs']"),
        (lambda step: with_final(step, nan), "final_obs['obs']: not finite in environments [0, 1, 2]"),
        (lambda step: with_final(step, lambda x: x[:, :0]), "final_obs['obs']: shape"),
    ],
)
def test_the_first_thing_that_is_wrong_is_named(change, words):
    """Rather than what fails later because of it, in a network or a memory."""
    with pytest.raises(RunError) as caught:
        steps(change)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("space", "action", "rows"),
    [
        (spaces.Discrete(2, start=3), [3, 5, 4], "[1]"),
        (spaces.Discrete(2, start=3), [2, 3, 1], "[0, 2]"),
        (spaces.MultiDiscrete([2, 3]), [[0, 2], [1, 3], [2, 0]], "[1, 2]"),
    ],
)
def test_an_action_that_there_is_not_is_named(space, action, rows):
    """Such as those of a network with more outputs than there are actions."""
    with pytest.raises(RunError, match="action: not in") as caught:
        steps(lambda step: step, torch.tensor(action), action_space=space)
    assert str(caught.value).endswith(f"in environments {rows}")


def test_an_action_may_be_of_another_array_type_only_as_a_tensor():
    """What a policy gives is checked before an environment makes something of it."""
    with pytest.raises(RunError, match="action: a ndarray, expected a tensor"):
        steps(lambda step: step, np.zeros(N, np.int64))
