"""Checks of the promises that a recurrent network makes besides; others skip them. See `slmk.recurrence`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from slmk.batch import FIRST, Obs
from slmk.config import RecurrentNetworkConfig
from slmk.errors import SpecError
from slmk.testing.compare import copy_of, first_difference
from slmk.testing.network_inputs import (
    STATE,
    Inputs,
    build_network,
    called_with,
    draw_inputs,
    draw_sequences,
    supported_inputs,
)
from slmk.testing.subject import Skip, Subject

__all__ = [
    "RECURRENT_CHECKS",
    "check_net_forgets_where_episodes_begin",
    "check_net_learns_through_time",
    "check_net_remembers_observations_alone",
    "check_net_remembers_so_much",
    "check_net_unrolls_as_it_steps",
]

LENGTH, BATCH = 5, 3
EXTRA = {"action": spaces.Box(-1, 1, (2,), np.float32)}
"""What a critic of continuous actions reads besides observations."""
BEGIN = 2
"""The step of a sequence at which an episode begins."""


def check_net_remembers_so_much(subject: Subject) -> str:
    """`advance` gives (N, carry) numbers that depend on observation and carry, and leaves both as they are."""
    inputs, network = _remembering(subject)
    config = subject.config()
    assert isinstance(config, RecurrentNetworkConfig), "its config is no subclass of slmk.RecurrentNetworkConfig"
    obs, other = (draw_inputs(inputs, (7,), seed) for seed in (0, 1))
    before = copy_of(obs)
    with torch.no_grad():
        carry = _advance(network, obs)
        changed = first_difference(before, obs)
        assert changed is None, f"advance changes the group {changed} in place"
        shape = (7, network.carry)
        assert carry.shape == shape, f"advance gives {tuple(carry.shape)}, expected (N, carry) = {shape}"
        assert carry.dtype == torch.float32, f"advance gives {carry.dtype}, expected float32"
        assert torch.isfinite(carry).all(), "what is remembered is not finite"
        for what, changes in (("carry", {"carry": other["carry"]}), ("observation", {**other, "carry": obs["carry"]})):
            assert not torch.allclose(_advance(network, {**obs, **changes}), carry), f"the {what} does not matter to it"
    return f"{network.carry} numbers, windows of {config.window} steps"


def check_net_unrolls_as_it_steps(subject: Subject) -> None:
    """A sequence gives the features of single steps, each from what `advance` gave before it."""
    for inputs in _all_remembering(subject):
        network, obs = build_network(subject, inputs), draw_sequences(inputs, LENGTH, BATCH)
        with torch.no_grad():
            unrolled, stepped = network(obs), _step_through(network, obs)
        worst = (unrolled - stepped).abs().max().item()
        assert worst <= 1e-4 * (1 + stepped.abs().max().item()), (
            f"features of a sequence and of its single steps differ by {worst:.2g}"
        )


def check_net_forgets_where_episodes_begin(subject: Subject) -> None:
    """What came before the first step of an episode does not change what comes after it; in an episode it does."""
    for inputs in _all_remembering(subject):
        network = build_network(subject, inputs)
        obs, other = (draw_sequences(inputs, LENGTH, BATCH, seed) for seed in (0, 1))
        first = torch.zeros(LENGTH, BATCH, dtype=torch.bool)
        first[BEGIN, 0] = True
        other = {name: torch.cat([x[:BEGIN], obs[name][BEGIN:]]) for name, x in other.items() if name != "carry"}
        other["carry"] = -obs["carry"]
        with torch.no_grad():
            one, two = (network({**each, FIRST: first})[BEGIN:] for each in (obs, other))
        assert torch.allclose(one[:, 0], two[:, 0], atol=1e-6), "it remembers the episode before: see the group 'first'"
        assert not torch.allclose(one[:, 1], two[:, 1], atol=1e-6), "it forgets within an episode"


def check_net_learns_through_time(subject: Subject) -> None:
    """The gradient of the last features of a sequence reaches the carry before it and its first observation."""
    for inputs in _all_remembering(subject):
        network, obs = build_network(subject, inputs), draw_sequences(inputs, LENGTH, BATCH)
        obs[FIRST] = torch.zeros_like(obs[FIRST])
        sources = {name: x.requires_grad_() for name, x in obs.items() if x.is_floating_point()}
        gradients = torch.autograd.grad(network(obs)[-1].square().sum(), list(sources.values()))
        for name, gradient in zip(sources, gradients, strict=True):
            at_start = gradient if name == "carry" else gradient[0]
            assert at_start.any(), f"no gradient flows from the last step back to {name!r} at the first one"


def check_net_remembers_observations_alone(subject: Subject) -> None:
    """A role's extra inputs, such as actions, matter in their own step alone, and `advance` does without them."""
    inputs, _ = _remembering(subject)
    groups = {name: space for name, space in inputs.items() if name not in STATE}
    try:
        network = build_network(subject, groups, extra=EXTRA)
    except SpecError as error:
        raise Skip(f"it refuses extra inputs: {error}") from error
    obs = draw_sequences({**called_with(network, groups), **EXTRA}, LENGTH, BATCH)
    obs[FIRST] = torch.zeros_like(obs[FIRST])
    other = {**obs, **{name: torch.cat([-obs[name][:1], obs[name][1:]]) for name in EXTRA}}
    with torch.no_grad():
        before, after = network(obs), network(other)
        single = {name: x if name == "carry" else x[0] for name, x in obs.items()}
        carry = _advance(network, single)
        alone = _advance(network, {name: x for name, x in single.items() if name not in EXTRA})
    assert not torch.allclose(before[0], after[0]), "an extra input does not matter to the features of its step"
    assert torch.allclose(before[1:], after[1:], atol=1e-6), "an extra input matters to the features of later steps"
    assert torch.equal(carry, alone), "what is remembered depends on an extra input"


def _remembering(subject: Subject) -> tuple[Inputs, nn.Module]:
    """The network and what it is called with, where it remembers anything."""
    inputs = next(_all_remembering(subject))
    return inputs, build_network(subject, inputs)


def _all_remembering(subject: Subject) -> Iterator[Inputs]:
    for inputs in supported_inputs(subject):
        if "carry" not in inputs:
            raise Skip("it remembers nothing")
        yield inputs


def _step_through(network: nn.Module, obs: Obs) -> Tensor:
    """Features (L, B, outputs) by single steps."""
    carry, features = obs["carry"], []
    for step in range(LENGTH):
        if step:
            carry = carry.masked_fill(obs[FIRST][step].unsqueeze(-1), 0.0)
        now = {name: x[step] for name, x in obs.items() if name != "carry"} | {"carry": carry}
        features.append(network(now))
        carry = _advance(network, now)
    return torch.stack(features)


def _advance(network: nn.Module, obs: Obs) -> Tensor:
    return network.advance(obs)  # type: ignore[operator,no-any-return]


RECURRENT_CHECKS = (
    check_net_remembers_so_much,
    check_net_unrolls_as_it_steps,
    check_net_forgets_where_episodes_begin,
    check_net_learns_through_time,
    check_net_remembers_observations_alone,
)
"""All of these checks."""
