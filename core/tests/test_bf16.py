"""Compiled updates whose products are in bf16."""

import pytest
import torch
from structlog.testing import capture_logs
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from slmk import Learner
from slmk.arithmetic import multiplies_in, products_in
from slmk.bf16 import NARROW, TALL, Bf16Products

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


def squared(layers):
    """The mean square of what comes out."""

    def loss(x):
        value = layers(x).square().mean()
        return value, {"loss": value}

    return loss


def gradient(width, matmul, *, compiled=True, ensemble=False):
    """Of the mean square, but for a factor: Adam's first moment after one step."""
    layers = Layers(width, ensemble=ensemble)
    x = torch.randn(width, width, generator=torch.Generator().manual_seed(1))
    with products_in(matmul):
        learner = Learner({"layers": layers}, squared(layers), compile="on" if compiled else "off")
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


@pytest.mark.parametrize(
    ("batch", "axes"), [((TALL,), [0]), ((8, TALL // 8), [0, 1]), ((2, TALL), [1])], ids=["rows", "steps", "ensemble"]
)
@pytest.mark.parametrize("keeps_axis", [False, True])
def test_sums_over_many_rows_are_products_too(batch, axes, keeps_axis):
    """Of what a product rounds anyway, such as the gradient of a bias; sums over few rows are left alone."""

    def function(*xs):
        flat = [x.reshape(*x.shape[: -len(axes) - 1], -1, NARROW) for x in xs]
        return [x.mT @ x for x in flat], [x.sum(axes, keepdim=keeps_axis) for x in xs]

    many = 1 + torch.randn(*batch, NARROW)
    few = many[..., :NARROW, :] if batch == (TALL,) else many[:, :NARROW]
    graph = make_fx(function, tracing_mode="fake")(few, many)
    Bf16Products()(graph.graph)
    graph.recompile()
    graph.graph.lint()
    sums = [node for node in graph.graph.nodes if node.target == torch.ops.aten.sum.dim_IntList]
    inputs = [node for node in graph.graph.nodes if node.op == "placeholder"]
    assert [node.args[0] for node in sums] == inputs[:1]
    for mine, expected in zip(graph(few, many)[1], function(few, many)[1], strict=True):
        assert mine.shape == expected.shape
        assert distance(mine, expected) < 2**-8


@pytest.mark.parametrize("ensemble", [False, True])
def test_narrow_products_stay_in_float32(ensemble):
    """The last layer of a network is one: its outputs are values."""
    width = NARROW // 2
    assert distance(gradient(width, "bf16", ensemble=ensemble), gradient(width, "float32", ensemble=ensemble)) < 1e-6


def test_an_update_that_is_not_compiled_stays_in_float32():
    """So does acting: small products gain nothing."""
    width = 2 * NARROW
    assert torch.equal(gradient(width, "bf16", compiled=False), gradient(width, "float32", compiled=False))


@needs_bf16
def test_where_auto_stays_eager_it_says_so():
    """Ten steps do not pay for compiling them."""
    layers = Layers(2 * NARROW)
    learner = Learner({"layers": layers}, squared(layers), compile="auto", steps_ahead=10)
    with products_in("bf16"), capture_logs() as logs:
        learner.step(torch.randn(8, 2 * NARROW), lr=1e-3)
    (log,) = logs
    assert "eager" in log["event"]
    assert "float32" in log["event"]
    assert "run.compile = 'on'" in log["remedy"]
