"""Values of actions and the policies that act by them, against numbers by hand and counted frequencies."""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from slmk import Linear
from slmk.config import Exploration
from slmk.errors import SpecError
from slmk.toolbox.values import LOWEST, Boltzmann, EpsilonGreedy, value_head, value_policy

DRAWS = 40_000
MASK = torch.tensor([True, False, True, True])


def frequencies(policy: EpsilonGreedy | Boltzmann, actions: int) -> Tensor:
    """How often each action is drawn by a policy of `DRAWS` equal rows."""
    drawn = policy.sample(torch.Generator().manual_seed(0))
    return torch.bincount(drawn, minlength=actions) / DRAWS


def rows(*values: float) -> Tensor:
    """One row of values, `DRAWS` times."""
    return torch.tensor(values).expand(DRAWS, -1)


@pytest.mark.parametrize(("dueling", "outputs"), [(False, 3), (True, 4)])
def test_outputs(dueling: bool, outputs: int) -> None:
    """A head wants a feature for each action, and one for the state's value if dueling."""
    assert value_head(spaces.Discrete(3), dueling).outputs == outputs


def test_actions_are_counted_from_the_start() -> None:
    """In a space from 5 the first action is 5, outside; its value is the first of the row."""
    head = value_head(spaces.Discrete(3, start=5))
    assert head.to_env(torch.tensor([0, 2])).tolist() == [5, 7]
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert head.pick(values, torch.tensor([5, 7])).tolist() == [1.0, 6.0]
    assert head.pick(values.expand(4, 2, 3), torch.full((4, 2), 6)).tolist() == [[2.0, 5.0]] * 4


@pytest.mark.parametrize("space", [spaces.MultiDiscrete([2, 2]), spaces.Box(-1, 1, (1,), np.float32)])
def test_other_spaces_are_refused(space: spaces.Space[object]) -> None:
    """Spaces other than Discrete are refused with what was expected."""
    with pytest.raises(SpecError, match="a Discrete space"):
        value_head(space)


def test_dueling_by_hand() -> None:
    """V = 10 and A = 1, 2, 6 of mean 3 give 8, 9, 13."""
    head = value_head(spaces.Discrete(3), dueling=True)
    assert head(torch.tensor([[10.0, 1.0, 2.0, 6.0]]), {}).tolist() == [[8.0, 9.0, 13.0]]


def test_dueling_takes_the_mean_over_allowed_actions() -> None:
    """Without the second of three actions the mean of 1 and 6 is 3.5, and its own value the lowest there is."""
    head = value_head(spaces.Discrete(3), dueling=True)
    mask = torch.tensor([[1, 0, 1]], dtype=torch.int8)
    assert head(torch.tensor([[10.0, 1.0, 100.0, 6.0]]), {"mask": mask}).tolist() == [[7.5, LOWEST, 12.5]]


@pytest.mark.parametrize("dueling", [False, True])
def test_forbidden_actions_get_no_gradient(dueling: bool) -> None:
    """Values stay finite where actions are forbidden, and features that only they use have the gradient 0."""
    head = value_head(spaces.Discrete(4), dueling)
    features = torch.randn(5, head.outputs, generator=torch.Generator().manual_seed(0), requires_grad=True)
    head(features, {"mask": MASK.expand(5, 4)}).amax(-1).sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    assert (features.grad[:, -3] == 0).all()
    assert features.grad.sum() == pytest.approx(5.0)


def test_no_allowed_action_gives_finite_values() -> None:
    """After the last step of an episode a mask may forbid everything: values and expectations stay finite."""
    head = value_head(spaces.Discrete(4), dueling=True)
    values = head(torch.ones(1, 5), {"mask": torch.zeros(1, 4, dtype=torch.bool)})
    assert torch.isfinite(values).all()
    assert torch.isfinite(EpsilonGreedy(values, 0.3).probs).all()
    assert torch.isfinite(Boltzmann(values, 0.3).probs).all()


def test_epsilon_greedy_by_hand() -> None:
    """With ε = 0.3 and three allowed actions each has 0.1, and the best 0.7 besides; drawn as often."""
    values = torch.where(MASK, rows(1.0, 9.0, 3.0, 2.0), LOWEST)
    policy = EpsilonGreedy(values, 0.3)
    expected = torch.tensor([0.1, 0.0, 0.8, 0.1])
    torch.testing.assert_close(policy.probs[0], expected)
    found = frequencies(policy, 4)
    # Four standard deviations of a share of 40,000 draws are below 0.01.
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
    assert found[1] == 0


@pytest.mark.parametrize(("epsilon", "expected"), [(0.0, [0.0, 0.0, 1.0]), (1.0, [1 / 3, 1 / 3, 1 / 3])])
def test_epsilon_at_its_ends(epsilon: float, expected: list[float]) -> None:
    """ε = 0 is greedy without exception, ε = 1 uniform."""
    found = frequencies(EpsilonGreedy(rows(-7.0, -9.0, -5.0), epsilon), 3)
    torch.testing.assert_close(found, torch.tensor(expected), atol=0.0 if epsilon == 0 else 0.01, rtol=0)


def test_rows_explore_on_their_own() -> None:
    """Among many rows some explore and some do not in one call."""
    drawn = EpsilonGreedy(rows(0.0, 1.0), 0.5).sample(torch.Generator().manual_seed(0))
    assert 0.2 < (drawn == 0).float().mean() < 0.3


def test_boltzmann_by_hand() -> None:
    """Values 0 and ln 3 · T have odds of 1 to 3 at temperature T; a forbidden action is never drawn."""
    temperature = 0.01
    values = torch.tensor([0.0, LOWEST, temperature * float(np.log(3))]).expand(DRAWS, 3)
    policy = Boltzmann(values, temperature)
    expected = torch.tensor([0.25, 0.0, 0.75])
    torch.testing.assert_close(policy.probs[0], expected, atol=1e-6, rtol=0)
    found = frequencies(policy, 3)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
    assert found[1] == 0
    assert torch.isfinite(policy.entropy()).all()


def test_kinds_of_exploration() -> None:
    """A kind's policy is that of its class, with the present value of ε or of the temperature."""
    values = torch.tensor([[0.0, 1.0]])
    falling = Linear(start=0.9, end=0.1, until=0.8)
    by_epsilon = SimpleNamespace(exploration="epsilon", epsilon=falling, temperature=7.0)
    assert torch.equal(value_policy(values, by_epsilon, 0.5).probs, EpsilonGreedy(values, 0.4).probs)
    by_temperature = SimpleNamespace(exploration="boltzmann", epsilon=7.0, temperature=falling)
    assert torch.equal(value_policy(values, by_temperature, 0.5).probs, Boltzmann(values, 0.4).probs)
    assert set(get_args(Exploration)) == {"epsilon", "boltzmann"}
