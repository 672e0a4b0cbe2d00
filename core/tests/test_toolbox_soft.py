"""Soft values, candidates and the actions that critics are told, against sums worked out by hand."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import distributions as reference

from slmk.errors import SpecError
from slmk.toolbox.distributions import Categorical, TanhNormal
from slmk.toolbox.scaling import weighted_mean
from slmk.toolbox.soft import soft_actions, soft_roles

BOX = spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 10.0], np.float32))
MATRIX = spaces.Box(-2.0, 2.0, (2, 3))


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def test_discrete_expectation_and_entropy_are_exact():
    """With p = ½, ¼, ¼ and Q = 4, 8, 0 the expectation is 2 + 2 = 4, the entropy 1½ log 2."""
    policy = Categorical(torch.tensor([[0.5, 0.25, 0.25]]).log())
    candidates = soft_actions(spaces.Discrete(3)).candidates(policy, torch.empty(1, 0))
    assert candidates.inputs == {}
    assert candidates.expectation(torch.tensor([[4.0, 8.0, 0.0]])).item() == pytest.approx(4.0)
    assert candidates.entropy().item() == pytest.approx(1.5 * math.log(2))


def test_the_gradient_of_a_discrete_expectation():
    """∂ Σ p q / ∂ logit_i is p_i (q_i − Σ p q): with p = ½, ½ and Q = 3, 1 it is ½ and −½."""
    logits = torch.zeros(1, 2, requires_grad=True)
    candidates = soft_actions(spaces.Discrete(2)).candidates(Categorical(logits), torch.empty(1, 0))
    candidates.expectation(torch.tensor([[3.0, 1.0]])).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[0.5, -0.5]]))


def test_forbidden_actions_do_not_count():
    """With one of three equal actions forbidden, the others have ½ each; a temperature of 9 overflows nowhere."""
    logits = torch.zeros(1, 3, requires_grad=True)
    policy = Categorical(logits, torch.tensor([[True, False, True]]))
    candidates = soft_actions(spaces.Discrete(3)).candidates(policy, torch.empty(1, 0))
    value = candidates.expectation(torch.tensor([[2.0, 99.0, 4.0]])) + 9 * candidates.entropy()
    assert value.item() == pytest.approx(3 + 9 * math.log(2))
    value.sum().backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 1] == 0


def test_a_continuous_candidate_is_the_reparametrised_sample():
    """The action is tanh(μ + σ ε), its log-density that of the squashed Gaussian, and gradients pass to μ and σ."""
    mean, log_std = torch.randn(5, 2, generator=stream()), torch.randn(5, 2, generator=stream(1))
    noise = torch.randn(5, 2, generator=stream(2))
    parameters = mean.clone().requires_grad_(), log_std.clone().requires_grad_()
    candidates = soft_actions(BOX).candidates(TanhNormal(*parameters), noise)
    raw = mean + log_std.exp() * noise
    base = reference.Normal(mean, log_std.exp())
    squashed = reference.TransformedDistribution(base, reference.TanhTransform(cache_size=1))
    expected = squashed.log_prob(squashed.transforms[0](raw)).sum(-1)
    torch.testing.assert_close(candidates.inputs["action"], raw.tanh())
    torch.testing.assert_close(candidates.entropy(), -expected)
    assert candidates.expectation(torch.full((5, 1), 7.0)).tolist() == [7.0] * 5
    candidates.inputs["action"].sum().backward()
    slope = 1 - raw.tanh().square()
    torch.testing.assert_close(parameters[0].grad, slope)
    torch.testing.assert_close(parameters[1].grad, slope * log_std.exp() * noise)


@pytest.mark.parametrize("batch", [(), (7,), (4, 7)])
def test_critics_are_told_actions_in_the_unit_cube(batch):
    """The bounds of every dimension become −1 and 1, their middle 0, flattened, in float32 and for any leading axes."""
    actions = soft_actions(MATRIX)
    for action, unit in ((-2.0, -1.0), (0.0, 0.0), (2.0, 1.0)):
        told = actions.inputs(torch.full((*batch, 2, 3), action))["action"]
        assert torch.equal(told, torch.full((*batch, 6), unit))
    told = soft_actions(BOX).inputs(torch.tensor([-0.5, 2.5]).double())["action"]
    torch.testing.assert_close(told, torch.tensor([0.0, -0.5]))


def test_values_of_the_actions_taken():
    """Of discrete actions the one at the index from the space's start; of continuous ones the only value there is."""
    values = torch.arange(24.0).view(2, 4, 3)
    taken = soft_actions(spaces.Discrete(3, start=5)).taken(values, torch.tensor([5, 7, 6, 5]))
    assert taken.tolist() == [[0.0, 5.0, 7.0, 9.0], [12.0, 17.0, 19.0, 21.0]]
    assert soft_actions(BOX).taken(values[..., :1], torch.zeros(4, 2)).tolist() == values[..., 0].tolist()


def test_uniform_actions():
    """They fill the bounds evenly, or are drawn evenly among the allowed ones: within four standard errors."""
    obs = {"obs": torch.zeros(10_000, 1)}
    drawn = soft_actions(BOX).uniform(obs, stream())
    assert all(BOX.contains(row) for row in drawn.numpy())
    middle, width = torch.tensor([-0.5, 5.0]), torch.tensor([3.0, 10.0])
    assert ((drawn.mean(0) - middle).abs() < 4 * width / math.sqrt(12 * 10_000)).all()
    obs["mask"] = torch.tensor([True, False, True]).expand(10_000, 3)
    counts = soft_actions(spaces.Discrete(3, start=5)).uniform(obs, stream()).bincount(minlength=8)
    assert counts[6] == 0
    assert counts[5] + counts[7] == 10_000
    assert abs(counts[5].item() - 5000) < 4 * math.sqrt(10_000 / 4)


def test_roles():
    """Critics of continuous actions read the action and give one value; of n discrete ones they give n values."""
    roles = soft_roles(MATRIX, 2)
    assert (roles["actor"].outputs, roles["critic"].outputs, roles["critic"].ensemble) == (12, 1, 2)
    assert roles["critic"].extra == {"action": spaces.Box(-1.0, 1.0, (6,))}
    roles = soft_roles(spaces.Discrete(4), 10)
    assert (roles["actor"].outputs, roles["critic"].outputs, roles["critic"].ensemble) == (4, 4, 10)
    assert not roles["critic"].extra


@pytest.mark.parametrize("space", [spaces.Box(-np.inf, 1.0, (2,)), spaces.MultiBinary(2), spaces.Box(0, 9, (1,), int)])
def test_other_spaces_are_refused(space):
    """Without finite bounds, or of another kind, there is an error that says what is expected."""
    with pytest.raises(SpecError, match="Box of floats whose bounds are finite and apart"):
        soft_roles(space, 2)


def test_weighted_mean_leaves_out_what_has_no_weight():
    """(½ · 2 + 1 · 6) / 2 = 3½: the element of weight 0 is not counted, for any axes."""
    x, weight = torch.tensor([[2.0], [6.0], [99.0]]), torch.tensor([[0.5], [1.0], [0.0]])
    assert weighted_mean(x, weight).item() == pytest.approx(3.5)
    assert weighted_mean(x, torch.ones(3, 1)).item() == pytest.approx(107 / 3)
