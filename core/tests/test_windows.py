"""Rollouts cut into transitions and into windows, by hand."""

import pytest
import torch

from slmk.windows import Windows


def rollout(horizon=4, num_envs=2):
    """Step t of environment n is the number 10·t + n, in a plain column, in nested observations and in a carry."""
    number = 10 * torch.arange(horizon).unsqueeze(1) + torch.arange(num_envs)
    wide = torch.stack([number, -number], -1)
    return {"reward": number, "obs": {"obs": wide, "first": number % 20 == 0, "carry/actor": wide.float()}}


def test_without_recurrence_a_rollout_becomes_single_transitions():
    """(T, N, …) becomes (T·N, …), time first, carries included."""
    cut = Windows().cut(rollout())
    assert cut["reward"].tolist() == [0, 1, 10, 11, 20, 21, 30, 31]
    assert cut["obs"]["obs"].shape == cut["obs"]["carry/actor"].shape == (8, 2)
    assert cut["obs"]["first"].tolist() == [True, False, False, False, True, False, False, False]
    assert Windows().count(8) == 8


def test_windows_are_consecutive_steps_of_one_environment():
    """Windows of two steps: (L, T·N / L), each column two steps of one environment, the first ones before the later."""
    cut = Windows(2).cut(rollout())
    assert cut["reward"].tolist() == [[0, 1, 20, 21], [10, 11, 30, 31]]
    assert cut["obs"]["obs"][..., 1].tolist() == [[0, -1, -20, -21], [-10, -11, -30, -31]]
    assert cut["obs"]["first"].tolist() == [[True, False, True, False], [False, False, False, False]]
    assert Windows(2).count(8) == 4


def test_of_carries_those_before_each_window_are_kept():
    """A window brings what was remembered before its first step, (T·N / L, width), at any depth of the tree."""
    cut = Windows(2).cut(rollout())
    assert cut["obs"]["carry/actor"].tolist() == [[0, 0], [1, -1], [20, -20], [21, -21]]


@pytest.mark.parametrize(("length", "reward", "carry"), [(1, [30, 0], [30, 0]), (2, [[21, 0], [31, 10]], [21, 0])])
def test_picking_takes_windows_and_their_carries(length, reward, carry):
    """An index picks along the axis of windows: the second one where there is time, and always the first of carries."""
    windows = Windows(length)
    index = torch.tensor([6 if length == 1 else 3, 0])
    picked = windows.pick(windows.cut(rollout()), index)
    assert picked["reward"].tolist() == reward
    assert picked["obs"]["carry/actor"][:, 0].tolist() == carry


def test_a_window_as_long_as_the_rollout_is_each_environment():
    """With L = T there is one window for each environment, and nothing moves."""
    assert torch.equal(Windows(4).cut(rollout())["reward"], rollout()["reward"])


def test_a_horizon_that_does_not_split_is_refused():
    """Four steps are no multiple of three."""
    with pytest.raises(ValueError, match="a rollout of 4 steps does not split into windows of 3"):
        Windows(3).cut(rollout())
