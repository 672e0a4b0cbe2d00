"""Ensembles: as many networks as members, computed as one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from slmk import Adam, Learner, Objective
from slmk.protocols import Role
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

INPUTS = {"obs": spaces.Box(-1, 1, (4,)), "action": spaces.Box(-1, 1, (2,))}
E = 3


def build(ensemble: int = E, **options: Any) -> MLP:
    """A network of two hidden layers with three outputs."""
    config = MLPConfig(hidden=(8, 6), **options)
    return MLP(config, INPUTS, Role(3, ensemble=ensemble), torch.Generator().manual_seed(0))


def inputs(*batch: int, seed: int = 1) -> dict[str, Tensor]:
    """Random observations and actions."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(*batch, *space.shape, generator=generator) for name, space in INPUTS.items()}


def member(net: MLP, index: int, **options: Any) -> MLP:
    """A single network with the parameters of one member, set apart at random where they would start alike."""
    single = build(0, **options)
    own = dict(net.named_parameters())
    for name, parameter in single.named_parameters():
        parameter.data = own[name].data[index].reshape(parameter.shape).clone()
    return single


def spread(net: MLP) -> MLP:
    """`net` with noise on every parameter, so that members differ in all of them."""
    generator = torch.Generator().manual_seed(2)
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return net


OPTIONS = [
    {},
    {"norm": "layer"},
    {"norm": "layer", "norm_position": "after", "norm_input": True},
    {"norm": "batch"},
    {"norm": "batch_renorm", "norm_position": "after", "norm_input": True, "norm_warm_up": 0},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("batch", [(), (5,), (2, 5)])
def test_an_ensemble_equals_its_members_taken_alone(options: dict[str, Any], batch: tuple[int, ...]) -> None:
    """Features without gradients are (members, *batch, outputs), each those of a network with that member's weights."""
    net = spread(build(**options))
    x = inputs(*batch)
    with torch.no_grad():
        found = net(x)
        expected = torch.stack([member(net, index, **options)(x) for index in range(E)])
    assert found.shape == (E, *batch, 3)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_equal_those_of_the_members(options: dict[str, Any]) -> None:
    """In training, features and every gradient, that of the inputs too, are those of separate networks."""
    net = spread(build(**options))
    x = {name: value.requires_grad_() for name, value in inputs(6).items()}
    out = net(x)
    loss = (out.square().sum((1, 2)) * torch.arange(1.0, E + 1)).sum()
    wanted = [*net.parameters(), *x.values()]
    found = dict(zip([*dict(net.named_parameters()), *x], torch.autograd.grad(loss, wanted), strict=True))
    total = {name: torch.zeros_like(value) for name, value in x.items()}
    for index in range(E):
        single = member(net, index, **options)
        own = single(x)
        torch.testing.assert_close(out[index], own)
        gradients = torch.autograd.grad((index + 1) * own.square().sum(), [*single.parameters(), *x.values()])
        named = dict(zip([*dict(single.named_parameters()), *x], gradients, strict=True))
        for name in dict(single.named_parameters()):
            ours = found[name][index].reshape(named[name].shape)
            torch.testing.assert_close(ours, named[name], rtol=1e-4, atol=1e-5)
        total = {name: value + named[name] for name, value in total.items()}
    torch.testing.assert_close({name: found[name] for name in x}, total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_only_the_members_asked_for_answer(options: dict[str, Any]) -> None:
    """With indices, the features are those rows of all features, in that order, and gradients go to no one else."""
    net = spread(build(**options))
    x, index = inputs(5), torch.tensor([2, 0])
    with torch.no_grad():
        torch.testing.assert_close(net(x, index), net(x)[index])
    (gradient,) = torch.autograd.grad(net(x, index).square().sum(), net.weight_1)
    assert [bool(rows.any()) for rows in gradient] == [True, False, True]


def test_statistics_of_members_not_asked_stay() -> None:
    """A batch in training that asks two of three members moves their running statistics alone."""
    net = spread(build(norm="batch"))
    net(inputs(5), torch.tensor([2, 0]))
    assert [bool(mean.any()) for mean in net.norms[0].mean] == [True, False, True]


def test_members_start_apart_and_on_the_scheme() -> None:
    """Each member is drawn for itself: orthogonal with singular values √2, no two alike, biases 0."""
    net = build()
    values = torch.linalg.svdvals(net.weight_0.detach())
    torch.testing.assert_close(values, torch.full_like(values, 2**0.5))
    assert not torch.allclose(net.weight_0[0], net.weight_0[1])
    assert net.bias_0.shape == (E, 1, 8)
    assert not net.bias_0.any()


def test_one_member_is_an_ensemble_too() -> None:
    """An ensemble of one has the axis; 0 means none."""
    assert build(1)(inputs(5)).shape == (1, 5, 3)
    assert build(0)(inputs(5)).shape == (5, 3)


@pytest.mark.parametrize(
    ("ensemble", "subset"), [(0, False), pytest.param(E, False, marks=pytest.mark.nightly), (E, True)]
)
def test_a_compiled_step_equals_an_eager_one(ensemble: int, subset: bool) -> None:
    """Three steps of a learner give the same parameters and running statistics, compiled or not."""
    found = []
    for compile in ("off", "on"):
        net = spread(build(ensemble, **OPTIONS[-1]))

        def loss(x: dict[str, Tensor], index: Tensor, net: MLP = net) -> tuple[Tensor, dict[str, Tensor]]:
            out = net(x, index) if subset else net(x)
            return (out - 1).square().mean(), {"loss": out.mean()}

        # The large ε keeps Adam from blowing up the rounding of gradients that are 0.
        learner = Learner({"net": net}, {"net": Objective(loss, [net], Adam(eps=1e-3))}, compile=compile)
        for seed, index in enumerate(([0, 1], [2, 0], [1, 2])):
            learner.step(inputs(7, seed=seed), torch.tensor(index), lr=0.1)
        assert learner.choice == {"off": "eager", "on": "compiled"}[compile]
        found.append({name: value.clone() for name, value in net.state_dict().items()})
    assert found[0]["norms.0.steps"].item() == 3
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)
