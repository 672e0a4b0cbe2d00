"""Affine maps against torch, and what initial weights promise."""

import math
from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from slmk.config import Activation, Init
from slmk.toolbox.layers import ACTIVATIONS, affine, linear

SPREAD = {"lecun_uniform": 3, "kaiming_uniform": 6, "pytorch": 1}
X = torch.linspace(-2, 2, 9)


def test_options_have_exactly_these_names():
    """What a spec may say is what there is a function, or a spread, of."""
    assert set(get_args(Activation)) == set(ACTIVATIONS)
    assert set(get_args(Init)) == {"orthogonal", *SPREAD}


def draw(scheme, seed=0, **options):
    """A layer from 300 inputs to 40 outputs."""
    return linear(300, 40, scheme, torch.Generator().manual_seed(seed), **options)


def test_an_affine_map_is_torchs_linear_layer():
    """x W + b, with the weight as (inputs, outputs)."""
    weight, bias = draw("pytorch")
    x = torch.randn(7, 300, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(affine(x, weight, bias), F.linear(x, weight.T, bias))


@pytest.mark.parametrize("shared", [True, False])
def test_an_ensemble_maps_with_each_members_weights(shared):
    """Rows of each member's own, or rows that all share, go through that member's layer."""
    weight, bias = draw("pytorch", ensemble=3)
    x = torch.randn(*(() if shared else (3,)), 7, 300, generator=torch.Generator().manual_seed(1))
    mapped = affine(x, weight, bias)
    for member in range(3):
        rows = x if shared else x[member]
        torch.testing.assert_close(mapped[member], rows @ weight[member] + bias[member, 0])


@pytest.mark.parametrize("ensemble", [0, 2])
def test_orthogonal_weights_have_the_gain_as_singular_values(ensemble):
    """All 40 singular values are the gain, of every member; biases are 0."""
    weight, bias = draw("orthogonal", gain=0.3, ensemble=ensemble)
    values = torch.linalg.svdvals(weight.detach())
    torch.testing.assert_close(values, torch.full_like(values, 0.3))
    assert not bias.any()


@pytest.mark.parametrize("scheme", SPREAD)
def test_uniform_weights_fill_their_bounds(scheme):
    """Weights fill ±√(k / inputs) times the gain and no more; only torch's own scheme draws biases, without gain."""
    weight, bias = draw(scheme, gain=0.5)
    bound = math.sqrt(SPREAD[scheme] / 300)
    assert 0.49 * bound < weight.abs().max() <= 0.5 * bound
    assert weight.mean().abs() < 0.01 * bound
    assert (0.5 * bound < bias.abs().max() <= bound) == (scheme == "pytorch")
    assert bias.any() == (scheme == "pytorch")


@pytest.mark.parametrize("scheme", ["orthogonal", *SPREAD])
def test_weights_come_from_the_generator_alone(scheme):
    """One seed gives one layer, another one another, members differ, and torch's global stream does not move."""
    before = torch.get_rng_state()
    one, same, other = (draw(scheme, seed)[0] for seed in (1, 1, 2))
    members = draw(scheme, ensemble=2)[0]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(*members)
    assert torch.equal(members[0], draw(scheme)[0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tanh", (X.exp() - (-X).exp()) / (X.exp() + (-X).exp())),
        ("relu", X.clamp(min=0)),
        ("elu", torch.where(X > 0, X, X.exp() - 1)),
        ("swish", X / (1 + (-X).exp())),
        ("gelu", X * 0.5 * (1 + torch.erf(X / math.sqrt(2)))),
    ],
)
def test_activations_are_the_functions_of_that_name(name, expected):
    """Each is its formula."""
    torch.testing.assert_close(ACTIVATIONS[name](X.clone()), expected)
