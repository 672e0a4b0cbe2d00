"""Reward scaling and returns of whole episodes against numbers by hand and loops in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.toolbox.rewards import ReturnScaler, explained_variance, finished_returns

CPU = torch.device("cpu")


def column(*values: float) -> Tensor:
    """One environment's values over time: (T, 1)."""
    return torch.tensor(values, dtype=torch.float32).unsqueeze(-1)


def test_scaling_by_hand() -> None:
    """With γ = ½, rewards 2, 2 and 4 give returns 2, 3 and, in a new episode, 4: mean 3, variance ⅔."""
    scaler, statistics = ReturnScaler(0.5, 1, CPU), Running(RunningConfig(), ())
    scaled = scaler(column(2, 2, 4), column(0, 1, 0).bool(), statistics)
    assert statistics.mean.item() == pytest.approx(3.0)
    assert statistics.variance.item() == pytest.approx(2 / 3)
    torch.testing.assert_close(scaled, column(2, 2, 4) / math.sqrt(2 / 3), rtol=1e-5, atol=0)
    assert scaler.carry.tolist() == [2.0]  # γ · 4


def test_returns_go_on_over_rollouts() -> None:
    """Scaling many rollouts, ends among them, equals a loop over single steps; the sign of rewards stays."""
    generator = torch.Generator().manual_seed(0)
    scaler, statistics = ReturnScaler(0.9, 3, CPU), Running(RunningConfig(), ())
    running, seen = np.zeros(3), []
    for _ in range(4):
        reward = torch.randn(7, 3, generator=generator)
        done = torch.rand(7, 3, generator=generator) < 0.2
        scaled = scaler(reward, done, statistics)
        for t in range(7):
            running = reward[t].double().numpy() + 0.9 * running
            seen.append(running.copy())
            running[done[t].numpy()] = 0.0
        expected = reward.double().numpy() / math.sqrt(np.var(np.concatenate(seen)) + 1e-8)
        np.testing.assert_allclose(scaled.numpy(), expected, rtol=1e-4)


def test_abandoned_episodes_do_not_go_on() -> None:
    """After rewards 2 and 2 the return is 3; a new episode's first one is its reward of 4 alone."""
    scaler, statistics = ReturnScaler(0.5, 1, CPU), Running(RunningConfig(), ())
    scaler(column(2, 2), column(0, 0).bool(), statistics)
    scaler.abandon()
    scaler(column(4), column(0).bool(), statistics)
    assert statistics.mean.item() == pytest.approx(3.0)  # Of 2, 3 and 4; with the carry it would be of 2, 3 and 5½.


def test_without_statistics_rewards_stay() -> None:
    """No normalizer, no scaling: the very same tensor comes back."""
    reward = column(1, 2)
    assert ReturnScaler(0.9, 1, CPU)(reward, column(0, 0).bool(), None) is reward


def test_scaling_leaves_rewards_alone() -> None:
    """The rollout's own rewards are as before, though the carry of the last one is added in between."""
    scaler, reward = ReturnScaler(0.5, 1, CPU), column(1, 1)
    for _ in range(2):
        scaler(reward, column(0, 0).bool(), Running(RunningConfig(), ()))
    assert reward.squeeze(-1).tolist() == [1.0, 1.0]


def test_finished_returns_by_hand() -> None:
    """Of two old and two new rows, with γ = ½: the episode that ends in row 2 has returns 1 + ½(2 + ½·4) = 3, 4, 4."""
    returns, finished = finished_returns(column(1, 2, 4, 8), column(0, 0, 1, 0).bool(), 0.5, newest=2)
    assert finished.squeeze(-1).tolist() == [True, True, True, False]
    assert returns[:3].squeeze(-1).tolist() == [3.0, 4.0, 4.0]


def test_what_ended_before_is_not_finished_again() -> None:
    """Of episodes that end in rows 0, 1 and 3 the last alone ended in the two newest rows: rows 2 and 3."""
    _, finished = finished_returns(column(1, 1, 1, 1), column(1, 1, 0, 1).bool(), 0.9, newest=2)
    assert finished.squeeze(-1).tolist() == [False, False, True, True]


@pytest.mark.parametrize("newest", [1, 3, 8])
def test_each_step_of_each_episode_is_finished_once(newest: int) -> None:
    """Rows that come in a few at a time: every step gets the return that a float64 loop finds, and gets it once."""
    horizon, num_envs, kept = 48, 3, 16  # No episode is longer than the rows kept beside the newest.
    generator = torch.Generator().manual_seed(1)
    reward = torch.randn(horizon, num_envs, generator=generator)
    done = torch.rand(horizon, num_envs, generator=generator) < 0.2
    done[11::12] = True
    expected = torch.zeros(horizon, num_envs, dtype=torch.float64)
    for t in reversed(range(horizon)):
        after = expected[t + 1] if t + 1 < horizon else 0.0
        expected[t] = reward[t] + 0.9 * ~done[t] * after
    found, count = torch.zeros(horizon, num_envs), torch.zeros(horizon, num_envs, dtype=torch.int64)
    rows = torch.zeros(kept, num_envs), torch.ones(kept, num_envs, dtype=torch.bool)
    for end in range(newest, horizon + 1, newest):
        rows = tuple(
            torch.cat([old, new[end - newest : end]])[-kept - newest :]
            for old, new in zip(rows, (reward, done), strict=True)
        )
        returns, finished = finished_returns(*rows, 0.9, newest)
        here = torch.arange(end - len(returns), end)
        inside = here >= 0
        assert not finished[~inside].any()
        found[here[inside]] += torch.where(finished, returns, 0.0)[inside]
        count[here[inside]] += finished[inside]
    assert (count == 1).all()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_explained_variance_by_hand() -> None:
    """A perfect critic explains all; one that gives the mean nothing; one that gives half the returns ¾."""
    returns = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    assert explained_variance(returns, returns).item() == pytest.approx(1.0)
    assert explained_variance(returns, torch.full((2, 2), 4.0)).item() == pytest.approx(0.0)
    assert explained_variance(returns, returns / 2).item() == pytest.approx(0.75)
    assert explained_variance(column(3), column(1)).item() == 1.0
