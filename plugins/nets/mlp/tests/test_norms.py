"""Normalisations against references in float64, and when they use which statistics."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from slmk.protocols import Role
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP
from slmk_net_mlp.norms import BatchNorm, BatchRenorm, LayerNorm, Norm

MOMENTUM = 0.9
N = TypeVar("N", bound=Norm)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def trained(norm: N) -> N:
    """`norm` in float64 with a scale and a shift of its own for each feature."""
    norm.double()
    norm.weight.data = 1 + 0.3 * draw(*norm.shape, seed=1)
    norm.bias.data = 0.3 * draw(*norm.shape, seed=2)
    return norm


def by_hand(x: Tensor, upstream: Tensor, gamma: Tensor, beta: Tensor, r: Tensor, d: Tensor, eps: float) -> list[Tensor]:
    """Output and gradients (of x, γ and β) as in algorithm 1 and the back-propagation of Ioffe (2017), section 3."""
    m = len(x)
    mu = x.sum(0) / m
    sigma = (eps + ((x - mu) ** 2).sum(0) / m) ** 0.5
    x_hat = (x - mu) / sigma * r + d
    d_hat = upstream * gamma
    d_sigma = (d_hat * (x - mu) * (-r / sigma**2)).sum(0)
    d_mu = (d_hat * (-r / sigma)).sum(0)
    d_x = d_hat * r / sigma + d_sigma * (x - mu) / (m * sigma) + d_mu / m
    return [gamma * x_hat + beta, d_x, (upstream * x_hat).sum(0), upstream.sum(0)]


def found(norm: Norm, x: Tensor, upstream: Tensor) -> list[Tensor]:
    """The same from `norm`."""
    x = x.clone().requires_grad_()
    out = norm(x)
    return [out, *torch.autograd.grad((out * upstream).sum(), [x, norm.weight, norm.bias])]


def test_batch_renorm_equals_the_paper() -> None:
    """Over five batches, the first two of them warm-up, outputs, gradients and running statistics are the paper's."""
    norm = trained(BatchRenorm(3, 0, MOMENTUM, warm_up=2))
    mean, var = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    clipped = []
    for step in range(5):
        # The second feature stays far off the running mean, the third one's spread jumps away from the running one.
        scale = torch.tensor([1.0, 0.5, 1.0 if step < 2 else 20.0])
        x = draw(8, 3, seed=10 + step) * scale + torch.tensor([0.1, 9.0, 0.0])
        upstream = draw(8, 3, seed=20 + step)
        spread = (x.var(0, correction=0) + 1e-3).sqrt()
        r, d = spread / (var + 1e-3).sqrt(), (x.mean(0) - mean) / (var + 1e-3).sqrt()
        clipped.append([*((r > 3) | (r < 1 / 3)), *(d.abs() > 5)])
        r, d = (torch.ones_like(r), 0 * d) if step < 2 else (r.clamp(1 / 3, 3), d.clamp(-5, 5))
        expected = by_hand(x, upstream, norm.weight.detach(), norm.bias.detach(), r, d, 1e-3)
        torch.testing.assert_close(found(norm, x, upstream), expected)
        mean = MOMENTUM * mean + (1 - MOMENTUM) * x.mean(0)
        var = MOMENTUM * var + (1 - MOMENTUM) * x.var(0, correction=0)
        torch.testing.assert_close([norm.mean, norm.var], [mean, var])
    binding = torch.tensor(clipped)[2:].any(0).tolist()
    assert binding == [False, False, True, False, True, False], "the limits must matter to some features only"


def test_batch_norm_equals_torch() -> None:
    """In training, outputs and gradients are those of torch's batch normalisation."""
    norm = trained(BatchNorm(3, 0, MOMENTUM))
    x, upstream = 2 * draw(8, 3) + 1, draw(8, 3, seed=3)
    mine, own = found(norm, x, upstream), x.clone().requires_grad_()
    out = F.batch_norm(own, None, None, norm.weight, norm.bias, training=True)
    expected = torch.autograd.grad((out * upstream).sum(), [own, norm.weight, norm.bias])
    torch.testing.assert_close(mine, [out, *expected])


def test_layer_norm_of_a_member_equals_torch() -> None:
    """Each member of an ensemble normalises with a scale and a shift of its own."""
    norm = trained(LayerNorm(5, 2))
    x = draw(2, 4, 5)
    expected = [F.layer_norm(x[i], (5,), norm.weight[i, 0], norm.bias[i, 0]) for i in range(2)]
    torch.testing.assert_close(norm(x), torch.stack(expected))


@pytest.mark.parametrize("kind", [BatchNorm, BatchRenorm])
def test_running_statistics_are_used_where_nothing_is_trained(kind: type[Norm]) -> None:
    """Under `no_grad` and with frozen parameters: (x − mean) / √(var + ε), and no statistic moves."""
    norm = trained(kind(3, 0, MOMENTUM, *([5] if kind is BatchRenorm else [])))
    norm(draw(8, 3))
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = draw(4, 3, seed=4).requires_grad_()
    expected = (x - norm.mean) / (norm.var + norm.eps).sqrt() * norm.weight + norm.bias
    with torch.no_grad():
        torch.testing.assert_close(norm(x), expected)
    torch.testing.assert_close(norm.requires_grad_(False)(x), expected)
    torch.testing.assert_close(norm.state_dict(), before, rtol=0, atol=0)
    assert torch.autograd.grad(norm(x).sum(), x)[0].any(), "gradients pass through to what comes in"


@pytest.mark.parametrize("kind", [BatchNorm, BatchRenorm])
def test_all_leading_axes_are_the_batch(kind: type[Norm]) -> None:
    """Sequences (L, B, F) are normalised over steps and samples alike, as one batch of L · B rows."""
    warm_up = [0] if kind is BatchRenorm else []
    one, other = (trained(kind(3, 0, MOMENTUM, *warm_up)) for _ in range(2))
    x = draw(4, 5, 3)
    torch.testing.assert_close(one(x), other(x.reshape(20, 3)).view(4, 5, 3))
    torch.testing.assert_close(one.state_dict(), other.state_dict())


def build(**options: Any) -> MLP:
    """A network with one hidden layer, normalised."""
    config = MLPConfig(hidden=(8,), activation="relu", **options)
    return MLP(config, {"obs": spaces.Box(-1, 1, (4,))}, Role(2), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("norm_input", [False, True])
def test_where_the_norms_stand(position: str, norm_input: bool) -> None:
    """Before or after the activation, and on the inputs where asked."""
    net = build(norm="layer", norm_position=position, norm_input=norm_input)
    x = torch.randn(5, 4)
    w = dict(net.named_parameters())
    h = (F.layer_norm(x, (4,)) if norm_input else x) @ w["weight_0"] + w["bias_0"]
    h = F.relu(F.layer_norm(h, (8,))) if position == "before" else F.layer_norm(F.relu(h), (8,))
    torch.testing.assert_close(net({"obs": x}), h @ w["weight_out"] + w["bias_out"])


@pytest.mark.parametrize("norm", ["batch", "batch_renorm"])
def test_an_action_does_not_depend_on_the_other_environments(norm: str) -> None:
    """Where no gradient is computed, one sample's features are the same alone as among others."""
    net = build(norm=norm, norm_input=True)
    x = torch.randn(50, 4)
    net({"obs": x})
    with torch.no_grad():
        torch.testing.assert_close(net({"obs": x})[:1], net({"obs": x[:1]}))


@pytest.mark.parametrize("norm", ["batch", "batch_renorm"])
def test_momentum_is_the_option(norm: str) -> None:
    """The first batch moves a mean of 0 by a quarter of its own where ¾ are kept, and by half where ½ is."""
    means = {}
    for momentum in (0.75, 0.5):
        net = build(norm=norm, norm_momentum=momentum)
        net({"obs": draw(8, 4).float()})
        means[momentum] = net.norms[0].mean
    assert means[0.5].abs().min() > 0
    torch.testing.assert_close(means[0.5], 2 * means[0.75])


def test_input_norm_needs_a_norm() -> None:
    """A spec that wants inputs normalised must say how."""
    assert [path for path, _ in MLPConfig(norm_input=True).problems({})] == ["norm_input"]
    assert not list(MLPConfig(norm_input=True, norm="layer").problems({}))
