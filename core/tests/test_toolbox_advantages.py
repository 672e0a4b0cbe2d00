"""Advantages and discounted sums against numbers computed by hand and a loop in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slmk.toolbox.advantages import gae
from slmk.toolbox.returns import bootstrapped, discounted


def column(*values: float) -> Tensor:
    """One environment's values over time: (T, 1)."""
    return torch.tensor(values, dtype=torch.float32).unsqueeze(-1)


def flags(*values: int) -> Tensor:
    """One environment's flags over time: (T, 1) bool."""
    return column(*values).bool()


def loop(reward: Tensor, value: Tensor, after: Tensor, terminated: Tensor, truncated: Tensor, c: float) -> Tensor:
    """GAE by its recurrence, one step after the other in float64, with γ = 0.9 and λ = c."""
    advantage, result = torch.zeros_like(reward[0]), []
    for t in reversed(range(len(reward))):
        delta = reward[t] + 0.9 * after[t] * (1 - terminated[t]) - value[t]
        advantage = delta + 0.9 * c * (1 - torch.maximum(terminated, truncated)[t]) * advantage
        result.append(advantage)
    return torch.stack(result[::-1])


def test_discounted_by_hand() -> None:
    """1 + ½(2 + ½(3)) = 2.75 and 2 + ½·3 = 3.5."""
    assert discounted(column(1, 2, 3), column(0.5, 0.5, 0.5)).squeeze(-1).tolist() == [2.75, 3.5, 3.0]


def test_discounted_leaves_its_arguments_alone() -> None:
    """The inputs have the same values afterwards."""
    x, c = torch.arange(10.0), torch.full((10,), 0.5)
    discounted(x, c)
    assert torch.equal(x, torch.arange(10.0))
    assert torch.equal(c, torch.full((10,), 0.5))


def test_bootstrapping_stops_where_the_task_ended() -> None:
    """1 + .81 · 10 = 9.1 where it goes on, and 1 alone where it ended, even if the value there is not finite."""
    value = torch.tensor([10.0, math.inf])
    target = bootstrapped(torch.ones(2), torch.full((2,), 0.81), torch.tensor([False, True]), value)
    assert target.tolist() == pytest.approx([9.1, 1.0])


def test_gae_by_hand() -> None:
    """With γ = λ = ½: δ = 1 + ½·2 − 1, 2 + ½·4 − 2, 3 + ½·8 − 4 = 1, 2, 3; hence A = 1.6875, 2.75, 3."""
    no = flags(0, 0, 0)
    advantage, returns = gae(column(1, 2, 3), column(1, 2, 4), column(2, 4, 8), no, no, 0.5, 0.5)
    assert advantage.squeeze(-1).tolist() == [1.6875, 2.75, 3.0]
    assert returns.squeeze(-1).tolist() == [2.6875, 4.75, 7.0]


def test_termination_has_no_value_after_it_and_truncation_has() -> None:
    """With γ = 1: a terminal step has δ = 1 − 5, a cut one 1 + 7 − 5; neither sees the next episode's reward 100."""
    reward, value, after = column(1, 100), column(5, 0), column(7, 0)
    ends, no = flags(1, 0), flags(0, 0)
    assert gae(reward, value, after, ends, no, 1.0, 1.0)[0][0].item() == -4.0
    assert gae(reward, value, after, no, ends, 1.0, 1.0)[0][0].item() == 3.0
    assert gae(reward, value, column(math.nan, 0), ends, no, 1.0, 1.0)[0][0].item() == -4.0


@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95])
def test_truncated_chain_converges_to_value_ten(lam: float) -> None:
    """Reward 1 for ever, γ = 0.9, cut every 5 steps: value iteration on λ-returns ends at 1 / (1 − 0.9) = 10.

    Taking cuts for ends would give (1 − 0.9⁵) / 0.1 = 4.1 at the first step.
    """
    steps = 20
    cut = (torch.arange(steps) % 5 == 4).unsqueeze(-1)
    value = torch.zeros(1)
    for _ in range(300):
        here = value.expand(steps, 1)
        _, returns = gae(torch.ones(steps, 1), here, here, torch.zeros_like(cut), cut, 0.9, lam)
        value = returns.mean(0)
    assert value.item() == pytest.approx(10.0, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.integers(1, 70),
    envs=st.integers(1, 3),
    lam=st.floats(0, 1),
    ending=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_gae_equals_the_loop(steps: int, envs: int, lam: float, ending: float, seed: int) -> None:
    """For any length and any pattern of ends the vectorised scan equals the step-by-step recurrence."""
    generator = torch.Generator().manual_seed(seed)
    reward, value, after = torch.randn(3, steps, envs, generator=generator, dtype=torch.float64)
    chance = torch.rand(2, steps, envs, generator=generator)
    terminated, truncated = chance[0] < ending / 2, chance[1] < ending / 2
    advantage, returns = gae(reward, value, after, terminated, truncated, 0.9, lam)
    expected = loop(reward, value, after, terminated.double(), truncated.double(), lam)
    torch.testing.assert_close(advantage, expected)
    torch.testing.assert_close(returns, expected + value)


def test_float32_is_accurate_over_long_horizons() -> None:
    """2048 steps at γλ = 0.999 in float32 stay within 1e-5, relatively, of float64."""
    x = torch.rand(2048, 4, generator=torch.Generator().manual_seed(0))
    c = torch.full_like(x, 0.999)
    torch.testing.assert_close(discounted(x, c).double(), discounted(x.double(), c.double()), rtol=1e-5, atol=0)
