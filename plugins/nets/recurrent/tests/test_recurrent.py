"""The recurrent network against torch's, and what it promises about sequences, members and compilation."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from slmk import Learner, Obs, SpecError
from slmk.protocols import Role
from slmk_net_recurrent import RecurrentConfig
from slmk_net_recurrent.recurrent import Recurrent

INPUTS = {"obs": spaces.Box(-1, 1, (3,)), "choice": spaces.Discrete(2)}
CELLS = ("gru", "lstm")
LENGTH, BATCH = 6, 4


def build(cell: str = "gru", ensemble: int = 0, seed: int = 0, **options: Any) -> Recurrent:
    """A small network with two outputs."""
    config = RecurrentConfig(cell=cell, **{"hidden": 5, "encoder": (7,), "head": (6,), **options})
    return Recurrent(config, INPUTS, Role(2, ensemble=ensemble), torch.Generator().manual_seed(seed))


def sequences(net: Recurrent, length: int = LENGTH) -> Obs:
    """(L, B) random observations, of which some begin episodes, and a carry."""
    generator = torch.Generator().manual_seed(0)
    return {
        "obs": torch.rand(length, BATCH, 3, generator=generator) * 2 - 1,
        "choice": torch.randint(2, (length, BATCH), generator=generator),
        "first": torch.rand(length, BATCH, generator=generator) < 0.3,
        "carry": torch.rand(BATCH, net.carry, generator=generator) * 2 - 1,
    }


def at(obs: Obs, step: int, carry: Tensor) -> Obs:
    """One step of sequences, from a carry of its own."""
    return {name: x[step] for name, x in obs.items() if name != "carry"} | {"carry": carry}


def reference(net: Recurrent, kind: str, obs: Obs) -> Tensor:
    """Features (L, B, 2) by torch's layers in float64, one sequence after the other, cut where episodes begin."""
    p = {name: value.detach().double() for name, value in net.named_parameters()}
    cell = {"gru": nn.GRU, "lstm": nn.LSTM}[kind](7, 5, dtype=torch.float64)
    given = {
        "weight_ih_l0": p["weight_input"].T, "bias_ih_l0": p["bias_input"],
        "weight_hh_l0": p["weight_state"].T, "bias_hh_l0": p["bias_state"],
    }  # fmt: skip
    one_hot = nn.functional.one_hot(obs["choice"], 2)
    x = torch.tanh(torch.cat([obs["obs"], one_hot], -1).double() @ p["weight_encoder_0"] + p["bias_encoder_0"])
    out = torch.empty(LENGTH, BATCH, 5, dtype=torch.float64)
    for b in range(BATCH):
        starts = [0, *(t for t in range(1, LENGTH) if obs["first"][t, b]), LENGTH]
        for start, stop in pairwise(starts):
            carry = (obs["carry"][b] if start == 0 else torch.zeros(net.carry)).double()[None]
            state = carry if kind == "gru" else tuple(carry.chunk(2, -1))
            out[start:stop, b] = torch.func.functional_call(cell, given, (x[start:stop, b], state))[0]
    return torch.tanh(out @ p["weight_head_0"] + p["bias_head_0"]) @ p["weight_out"] + p["bias_out"]


@pytest.mark.parametrize("kind", CELLS)
def test_unrolling_is_what_torch_computes(kind: str) -> None:
    """Features of sequences in which episodes begin equal those of torch's layers run on each episode by itself."""
    net = build(kind)
    obs = sequences(net)
    assert obs["first"][1:].any()
    torch.testing.assert_close(net(obs).double(), reference(net, kind, obs), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("ensemble", [0, 3])
def test_stepping_with_advance_is_unrolling(kind: str, ensemble: int) -> None:
    """Single steps, each from what `advance` gave before, give the features of the sequence."""
    net = build(kind, ensemble)
    obs = sequences(net)
    carry, features = obs["carry"], []
    for step in range(LENGTH):
        if step:
            carry = carry.masked_fill(obs["first"][step].unsqueeze(-1), 0.0)
        features.append(net(at(obs, step, carry)))
        carry = net.advance(at(obs, step, carry))
    torch.testing.assert_close(torch.stack(features, -3), net(obs))


@pytest.mark.parametrize("kind", CELLS)
def test_an_ensemble_is_so_many_networks(kind: str) -> None:
    """Each member, in steps and in sequences, is a network with that slice of the weights and of the carry."""
    net, one = build(kind, 3), build(kind)
    obs = sequences(net)
    out, single = net(obs), net.advance(at(obs, 0, obs["carry"]))
    assert out.shape == (3, LENGTH, BATCH, 2)
    for member, carry in enumerate(obs["carry"].chunk(3, -1)):
        weights = {n: p[member].reshape(one.get_parameter(n).shape) for n, p in net.named_parameters()}
        one.load_state_dict(weights)
        torch.testing.assert_close(out[member], one(obs | {"carry": carry}))
        torch.testing.assert_close(single.chunk(3, -1)[member], one.advance(at(obs, 0, carry)))
    torch.testing.assert_close(net(obs, members=torch.tensor([2, 0])), out[[2, 0]])


def test_members_begin_apart() -> None:
    """No two members have a weight in common."""
    for parameter in (p for name, p in build(ensemble=3).named_parameters() if name.startswith("weight")):
        assert (parameter[0] != parameter[1]).all()


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.parametrize("ensemble", [0, 2])
def test_single_steps_have_any_leading_axes(batch: tuple[int, ...], ensemble: int) -> None:
    """Where every row has its own carry, leading axes are free, none included."""
    net = build("lstm", ensemble)
    obs = {
        "obs": torch.rand(*batch, 3), "choice": torch.zeros(batch, dtype=torch.long),
        "first": torch.zeros(batch, dtype=torch.bool), "carry": torch.rand(*batch, net.carry),
    }  # fmt: skip
    assert net(obs).shape == (*([2] if ensemble else []), *batch, 2)
    assert net.advance(obs).shape == (*batch, net.carry)


@pytest.mark.parametrize("ensemble", [0, 3])
def test_an_action_joins_what_is_remembered(ensemble: int) -> None:
    """A role's extra input is read by the head: features are those of a network whose cell never saw it."""
    role = Role(2, extra={"action": spaces.Box(-1, 1, (2,))}, ensemble=ensemble)
    config = RecurrentConfig(hidden=5, encoder=(7,), head=(6,))
    net = Recurrent(config, INPUTS | dict(role.extra), role, torch.Generator().manual_seed(0))
    observer = Recurrent(RecurrentConfig(hidden=5, encoder=(7,)), INPUTS, Role(5, ensemble=ensemble), torch.Generator())
    p = dict(net.named_parameters())
    cell = {name: x for name, x in p.items() if name in dict(observer.named_parameters()) and "out" not in name}
    eye = torch.eye(5).expand(*([ensemble] if ensemble else []), 5, 5)
    zero = torch.zeros_like(observer.get_parameter("bias_out"))
    observer.load_state_dict({**cell, "weight_out": eye, "bias_out": zero})
    obs = sequences(net)
    action = torch.rand(LENGTH, BATCH, 2)
    h = observer(obs)
    rows = torch.cat([h, action.expand(*h.shape[:-1], 2)], -1).flatten(-3, -2)
    hidden = torch.tanh(rows @ p["weight_head_0"] + p["bias_head_0"])
    expected = (hidden @ p["weight_out"] + p["bias_out"]).unflatten(-2, (LENGTH, BATCH))
    torch.testing.assert_close(net(obs | {"action": action}), expected)


def test_an_action_needs_a_head() -> None:
    """Without a layer after the cell, the best action would not depend on what is remembered."""
    role = Role(1, extra={"action": spaces.Box(-1, 1, (2,))})
    with pytest.raises(SpecError, match="action would only be added") as error:
        Recurrent(RecurrentConfig(), INPUTS | dict(role.extra), role, torch.Generator())
    assert error.value.problems[0].hint == "set head = [64]"


@pytest.mark.parametrize("kind", CELLS)
def test_gradients_flow_back_in_time_within_an_episode(kind: str) -> None:
    """The last output of a sequence moves with every input of its episode, and with nothing before that."""
    net = build(kind)
    obs = sequences(net)
    obs["first"] = torch.zeros(LENGTH, BATCH, dtype=torch.bool)
    obs["first"][2, 0] = True
    for name in ("obs", "carry"):
        obs[name].requires_grad_()
    by_obs, by_carry = torch.autograd.grad(net(obs)[-1].sum(), [obs["obs"], obs["carry"]])
    reached = by_obs.abs().sum(-1) > 0
    assert reached[:, 0].tolist() == [False, False, True, True, True, True]
    assert reached[:, 1:].all()
    assert (by_carry.abs().sum(-1) > 0).tolist() == [False, True, True, True]


@pytest.mark.parametrize("init", ["orthogonal", "lecun_uniform", "kaiming_uniform", "pytorch"])
def test_layers_begin_as_their_scheme_says(init: str) -> None:
    """Orthogonal layers have singular values √2, and those of the role's gain at the end; others fill their bounds."""
    config = RecurrentConfig(hidden=64, encoder=(64,), head=(64,), init=init)
    inputs = {"obs": spaces.Box(-1, 1, (64,))}
    net = Recurrent(config, inputs, Role(8, gain=0.5), torch.Generator().manual_seed(0))
    for name, gain in (("encoder_0", math.sqrt(2)), ("head_0", math.sqrt(2)), ("out", 0.5)):
        weight = net.get_parameter(f"weight_{name}").detach()
        if init == "orthogonal":
            values = torch.linalg.svdvals(weight)
            torch.testing.assert_close(values, torch.full_like(values, gain))
        else:
            spread = {"lecun_uniform": 3, "kaiming_uniform": 6, "pytorch": 1}[init]
            bound = math.sqrt(spread / 64) * (gain if name == "out" else 1)
            assert 0.97 * bound < weight.abs().max() <= bound


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "ensemble"), [("gru", 0), ("lstm", 2)])
def test_a_compiled_step_over_sequences_is_the_eager_one(kind: str, ensemble: int) -> None:
    """Three gradient steps through time move the parameters the same way, compiled in full or not."""
    moved = []
    for compile in ("off", "on"):
        net = build(kind, ensemble)
        obs = sequences(net, length=2)

        def loss(obs: Obs, net: Recurrent = net) -> tuple[Tensor, dict[str, Tensor]]:
            error = (net(obs) - 1).square().mean()
            return error, {"loss/error": error}

        learner = Learner({"net": net}, loss, compile=compile)
        for _ in range(3):
            learner.step(obs, lr=1e-2)
        moved.append(dict(net.named_parameters()))
        assert learner.choice == {"off": "eager", "on": "compiled"}[compile]
    for name, eager in moved[0].items():
        torch.testing.assert_close(moved[1][name], eager, atol=1e-5, rtol=1e-4)
