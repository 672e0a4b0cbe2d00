"""Compiled updates whose products are in bf16."""

import pytest
import torch
from torch import nn

from slmk import Learner
from slmk.arithmetic import multiplies_in, products_in
from slmk.bf16 import NARROW

CPU = torch.device("cpu")
needs_bf16 = pytest.mark.skipif(not multiplies_in("bf16", CPU), reason="this CPU has no bf16 arithmetic")


class Layers(nn.Module):
    """Two layers with biases, or two members of an ensemble of such."""

    def __init__(self, width, *, ensemble=False):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        members = (2,) if ensemble else ()
        self.weights = nn.ParameterList(torch.randn(*members, width, width, generator=generator) for _ in range(2))
        self.biases = nn.ParameterList(torch.randn(*members, 1, width, generator=generator) for _ in range(2))

    def forward(self, x):
        for weight, bias in zip(self.weights, self.biases, strict=True):
            product = torch.bmm(x.expand(2, -1, -1), weight) if weight.dim() == 3 else x @ weight
            x = torch.tanh(product / x.shape[-1] ** 0.5 + bias)
        return x


def gradient(width, matmul, *, compiled=True, ensemble=False):
    """Of a squared error, but for a factor: Adam's first moment after one step."""
    layers = Layers(width, ensemble=ensemble)

    def loss(x):
        value = layers(x).square().mean()
        return value, {"loss": value}

    x = torch.randn(width, width, generator=torch.Generator().manual_seed(1))
    with products_in(matmul):
        learner = Learner({"layers": layers}, loss, compile="on" if compiled else "off")
        learner.step(x, lr=1e-3)
    return learner.state_dict()["objectives"]["loss"]["first_moment"]


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


@needs_bf16
@pytest.mark.parametrize("ensemble", [False, True])
def test_the_gradient_is_right_to_8_bits(ensemble):
    """Between 2⁻¹² and 2⁻⁵ from float32, where a product rounds each factor and itself by up to 2⁻⁹."""
    exact = gradient(2 * NARROW, "float32", ensemble=ensemble)
    assert 2**-12 < distance(gradient(2 * NARROW, "bf16", ensemble=ensemble), exact) < 2**-5


@pytest.mark.parametrize("ensemble", [False, True])
def test_narrow_products_stay_in_float32(ensemble):
    """The last layer of a network is one: its outputs are values."""
    width = NARROW // 2
    assert distance(gradient(width, "bf16", ensemble=ensemble), gradient(width, "float32", ensemble=ensemble)) < 1e-6


def test_an_update_that_is_not_compiled_stays_in_float32():
    """So does acting: small products gain nothing."""
    width = 2 * NARROW
    assert torch.equal(gradient(width, "bf16", compiled=False), gradient(width, "float32", compiled=False))
