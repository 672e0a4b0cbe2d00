"""Action heads: the number of features, valid actions in the environment's own form, and refusals."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from gymnasium import spaces

from slmk.config import Gaussian
from slmk.errors import SpecError
from slmk.toolbox.heads import action_head, head_outputs

BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 10.0], np.float32))
MATRIX = spaces.Box(-1.0, 1.0, (2, 3))
OPEN = spaces.Box(-np.inf, np.inf, (2,))
SPACES = {
    "discrete": spaces.Discrete(3),
    "discrete from 5": spaces.Discrete(3, start=5),
    "multi-discrete": spaces.MultiDiscrete([2, 4], start=[1, -1]),
    "multi-discrete matrix": spaces.MultiDiscrete([[2, 3], [4, 5]]),
    "multi-binary": spaces.MultiBinary(4),
    "multi-binary matrix": spaces.MultiBinary([2, 2]),
    "box": BOX,
    "box matrix": MATRIX,
    "box scalar": spaces.Box(0.0, 1.0, ()),
    "box float64": spaces.Box(-1.0, 1.0, (2,), np.float64),
    "open box": OPEN,
}


@pytest.mark.parametrize("gaussian", get_args(Gaussian))
@pytest.mark.parametrize("name", SPACES)
def test_actions_are_valid(name: str, gaussian: Gaussian) -> None:
    """Samples and modes of every head, also for extreme features, belong to the space, dtype and shape included."""
    space = SPACES[name]
    if gaussian.startswith("tanh") and name == "open box":
        pytest.skip("refused; see test_tanh_needs_bounds")
    head = action_head(space, gaussian=gaussian)
    features = 20 * torch.randn(50, head.outputs, generator=torch.Generator().manual_seed(0))
    policy = head(features, {})
    raw = policy.sample(torch.Generator().manual_seed(1))
    assert policy.log_prob(raw).shape == policy.entropy().shape == (50,)
    for action in (*head.to_env(raw), *head.to_env(policy.mode())):
        value = action.detach().numpy()
        assert space.contains(value), f"{value!r} is not in {space}"


@pytest.mark.parametrize(
    ("space", "gaussian", "outputs"),
    [
        (spaces.Discrete(3), "tanh", 3),
        (spaces.MultiDiscrete([2, 4]), "tanh", 6),
        (spaces.MultiBinary(4), "tanh", 4),
        (MATRIX, "state_independent", 6),
        (MATRIX, "state_dependent", 12),
        (MATRIX, "tanh", 12),
        (MATRIX, "tanh_clamped", 12),
    ],
)
def test_outputs(space: spaces.Space[object], gaussian: Gaussian, outputs: int) -> None:
    """A head wants a logit per choice, a mean per dimension, and a width per dimension where the network gives it."""
    assert head_outputs(space, gaussian) == outputs == action_head(space, gaussian=gaussian).outputs


def test_each_kind_has_a_head_of_its_own() -> None:
    """What a spec may say is what there is a head of."""
    kinds = get_args(Gaussian)
    assert len({type(action_head(BOX, gaussian=gaussian)) for gaussian in kinds}) == len(kinds)


def test_clipping_to_the_bounds() -> None:
    """A Gaussian action is clipped to each dimension's own bounds; its raw form is not."""
    head = action_head(BOX)
    raw = torch.tensor([[-5.0, -5.0], [5.0, 50.0], [0.5, 5.0]])
    assert head.to_env(raw).tolist() == [[-2.0, 0.0], [1.0, 10.0], [0.5, 5.0]]


def test_squashing_to_the_bounds() -> None:
    """tanh stretches to the bounds, hits them exactly far out, and 0 lands in the middle."""
    head = action_head(BOX, gaussian="tanh")
    raw = torch.tensor([[-50.0, -50.0], [50.0, 50.0], [0.0, 0.0], [1.0, 1.0]])
    unit = math.tanh(1.0)
    expected = [[-2.0, 0.0], [1.0, 10.0], [-0.5, 5.0], [-0.5 + 1.5 * unit, 5 + 5 * unit]]
    torch.testing.assert_close(head.to_env(raw), torch.tensor(expected))
    assert head.to_env(raw[:2]).tolist() == expected[:2]


@pytest.mark.parametrize("gaussian", get_args(Gaussian))
def test_initial_standard_deviation(gaussian: Gaussian) -> None:
    """Where the network gives 0, the standard deviation is exp(log_std_init)."""
    head = action_head(MATRIX, gaussian=gaussian, log_std_init=-0.7)
    policy = head(torch.zeros(5, head.outputs), {})
    torch.testing.assert_close(policy.log_std.expand(5, 6), torch.full((5, 6), -0.7))


@pytest.mark.parametrize("gaussian", ["state_dependent", "tanh"])
def test_the_initial_deviation_may_be_wide(gaussian: Gaussian) -> None:
    """exp(7) is 1,097, of which the exponential would overflow."""
    head = action_head(MATRIX, gaussian=gaussian, log_std_init=7.0)
    policy = head(torch.zeros(1, head.outputs), {})
    torch.testing.assert_close(policy.log_std.expand(1, 6), torch.full((1, 6), 7.0))


def test_clamped_deviation() -> None:
    """The log standard deviation is what the network gives, within [−20, 2], beyond which there is no gradient."""
    head = action_head(BOX, gaussian="tanh_clamped")
    features = torch.tensor([[0.5, 0.6, -1.5, 1.0], [0.5, 0.6, -21.0, 2.5]], requires_grad=True)
    policy = head(features, {})
    assert policy.mean.tolist() == features[:, :2].tolist()
    assert policy.log_std.tolist() == [[-1.5, 1.0], [-20.0, 2.0]]
    policy.log_std.sum().backward()
    assert features.grad is not None
    assert features.grad.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]


def test_state_independent_deviation_is_a_parameter() -> None:
    """The one learnable deviation gets a gradient from the log-probability."""
    head = action_head(BOX)
    assert [name for name, _ in head.named_parameters()] == ["log_std"]
    head(torch.zeros(5, 2), {}).log_prob(torch.ones(5, 2)).sum().backward()
    # d/ds of −½ z² e^{−2s} − s at z = 1, s = 0 is 1 − 1 = 0; at z = 2 it would be 3, five times.
    assert head.log_std.grad.tolist() == [0.0, 0.0]
    head.zero_grad()
    head(torch.zeros(5, 2), {}).log_prob(torch.full((5, 2), 2.0)).sum().backward()
    assert head.log_std.grad.tolist() == [15.0, 15.0]


def test_mask_group_forbids_actions() -> None:
    """Where the observation has a group ``mask``, only allowed actions are drawn, counted from the space's start."""
    head = action_head(spaces.Discrete(3, start=5))
    mask = torch.tensor([0, 0, 1], dtype=torch.int8).expand(100, 3)
    raw = head(torch.zeros(100, 3), {"mask": mask}).sample(torch.Generator().manual_seed(0))
    assert (head.to_env(raw) == 7).all()


@pytest.mark.parametrize("gaussian", ["tanh", "tanh_clamped"])
def test_tanh_needs_bounds(gaussian: Gaussian) -> None:
    """Squashing into an unbounded Box is refused with the path of the option and what to choose."""
    with pytest.raises(SpecError, match=r"algorithm\.gaussian: squashed actions need finite bounds"):
        action_head(OPEN, gaussian=gaussian)


@pytest.mark.parametrize("space", [spaces.Text(3), spaces.Box(0, 255, (2,), np.uint8)])
def test_other_spaces_are_refused(space: spaces.Space[object]) -> None:
    """A space without a head is refused with the kinds that have one."""
    with pytest.raises(SpecError, match="no action head for this action space"):
        action_head(space)
