"""The multilayer perceptron against the formula, and what it promises about weights, batches and compilation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch.func import functional_call
from torch.nn import functional as F

from slmk import SpecError
from slmk.protocols import Role
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

ROLE = Role(3)
BOX = {"obs": spaces.Box(-1, 1, (4,))}


def build(config: MLPConfig, inputs: dict[str, spaces.Space[object]] = BOX, role: Role = ROLE, seed: int = 0) -> MLP:
    """A network whose weights are drawn from a stream with that seed."""
    return MLP(config, inputs, role, torch.Generator().manual_seed(seed))


def test_forward_is_the_formula() -> None:
    """Two tanh layers and a linear one, with the parameters read off the module."""
    net = build(MLPConfig(hidden=(8, 6)))
    x = torch.randn(5, 4)
    w = dict(net.named_parameters())
    hidden = torch.tanh(x @ w["weight_0"] + w["bias_0"])
    hidden = torch.tanh(hidden @ w["weight_1"] + w["bias_1"])
    torch.testing.assert_close(net({"obs": x}), hidden @ w["weight_out"] + w["bias_out"])


@pytest.mark.parametrize(
    ("name", "function"),
    [("tanh", torch.tanh), ("relu", F.relu), ("elu", F.elu), ("swish", lambda x: x * x.sigmoid()), ("gelu", F.gelu)],
)
def test_activations(name: str, function: object) -> None:
    """Every activation of the config is the function of that name."""
    net = build(MLPConfig(hidden=(8,), activation=name))
    x = torch.randn(5, 4)
    w = dict(net.named_parameters())
    expected = function(x @ w["weight_0"] + w["bias_0"]) @ w["weight_out"] + w["bias_out"]
    torch.testing.assert_close(net({"obs": x}), expected)


@pytest.mark.parametrize("batch", [(), (5,), (2, 5)])
def test_any_leading_axes(batch: tuple[int, ...]) -> None:
    """A batch of any form gives features of that form."""
    assert build(MLPConfig())({"obs": torch.zeros(*batch, 4)}).shape == (*batch, 3)


def test_groups_become_one_vector() -> None:
    """Box is flattened, discrete kinds become one-hot vectors from their start, bits become floats, in order."""
    inputs = {
        "matrix": spaces.Box(-1, 1, (2, 2)),
        "scalar": spaces.Box(-1, 1, ()),
        "choice": spaces.Discrete(3, start=5),
        "choices": spaces.MultiDiscrete([2, 3], start=[0, 1]),
        "bits": spaces.MultiBinary(2),
    }
    net = build(MLPConfig(hidden=()), inputs, Role(1))
    net.weight_out.data = torch.eye(15)
    net.bias_out.data.zero_()
    obs = {
        "matrix": torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]),
        "scalar": torch.tensor([5.0]),
        "choice": torch.tensor([6]),
        "choices": torch.tensor([[1, 3]]),
        "bits": torch.tensor([[1, 0]], dtype=torch.int8),
    }
    assert net(obs).tolist() == [[1, 2, 3, 4, 5, 0, 1, 0, 0, 1, 0, 0, 1, 1, 0]]


def test_samples_of_every_space_are_read() -> None:
    """What a space samples passes through, stacked to a batch."""
    inputs = {
        "a": spaces.MultiDiscrete([[2, 3], [4, 5]]),
        "b": spaces.Discrete(4),
        "c": spaces.Box(0, 255, (3,), np.uint8),
    }
    obs = {name: torch.as_tensor(np.stack([space.sample() for _ in range(6)])) for name, space in inputs.items()}
    assert build(MLPConfig(), inputs)(obs).shape == (6, 3)


def test_an_unknown_space_is_refused_by_group() -> None:
    """A space that cannot become a vector is an error that names the group and the spaces that can."""
    with pytest.raises(SpecError, match=r"(?s)group 'words'.*Box, Discrete"):
        build(MLPConfig(), {"words": spaces.Text(3)})


def test_weights_come_from_the_generator_alone() -> None:
    """The same generator gives the same weights, another one others, and the global stream is not touched."""
    for scheme in ("orthogonal", "lecun_uniform", "kaiming_uniform", "pytorch"):
        before = torch.random.get_rng_state()
        a, b, c = (build(MLPConfig(init=scheme), seed=seed) for seed in (1, 1, 2))
        assert torch.equal(torch.random.get_rng_state(), before)
        assert torch.equal(a.weight_0, b.weight_0)
        assert not torch.equal(a.weight_0, c.weight_0)


@pytest.mark.parametrize(("options", "last"), [({}, 0.01), ({"out_gain": 0.3}, 0.3)])
def test_orthogonal_initialisation(options: dict[str, float], last: float) -> None:
    """Singular values are √2 in hidden layers and the role's gain in the last, or the one stated; biases are 0."""
    net = build(MLPConfig(hidden=(64, 32), **options), role=Role(3, gain=0.01))
    for weight, gain in ((net.weight_0, math.sqrt(2)), (net.weight_1, math.sqrt(2)), (net.weight_out, last)):
        values = torch.linalg.svdvals(weight.detach())
        torch.testing.assert_close(values, torch.full_like(values, gain))
    assert all((bias == 0).all() for bias in (net.bias_0, net.bias_1, net.bias_out))


@pytest.mark.parametrize(("scheme", "k"), [("lecun_uniform", 3), ("kaiming_uniform", 6), ("pytorch", 1)])
def test_uniform_initialisation(scheme: str, k: int) -> None:
    """Weights fill ±√(k / inputs) and no more; the role's gain scales the last layer's weights."""
    net = build(MLPConfig(hidden=(400, 300), init=scheme), role=Role(50, gain=0.5))
    for weight, gain in ((net.weight_1, 1.0), (net.weight_out, 0.5)):
        bound = gain * math.sqrt(k / weight.shape[0])
        assert 0.99 * bound < weight.abs().max().item() <= bound
    assert bool((net.bias_1 != 0).any()) == (scheme == "pytorch")


@pytest.mark.parametrize("norm", ["none", "layer", "batch", "batch_renorm"])
def test_functional_call_and_compile(norm: str) -> None:
    """Swapped parameters are the ones used, all get a gradient, and ``fullgraph`` compilation keeps the values."""
    net = build(MLPConfig(norm=norm))
    x = {"obs": torch.randn(9, 4)}
    swapped = {name: (2 * value).detach().requires_grad_() for name, value in net.named_parameters()}

    def call(parameters: dict[str, torch.Tensor], obs: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional_call(net, parameters, (obs,))

    out = call(swapped, x)
    assert not torch.allclose(out, net(x))
    gradients = torch.autograd.grad(out.square().sum(), list(swapped.values()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    torch.testing.assert_close(torch.compile(call, fullgraph=True, backend="aot_eager")(swapped, x), call(swapped, x))
