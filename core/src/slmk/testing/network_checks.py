"""Checks of the promises that every network makes, one function per promise."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from slmk.batch import Obs
from slmk.errors import SpecError
from slmk.testing.compare import copy_of, equal, first_difference
from slmk.testing.network_inputs import (
    INPUTS,
    OUTPUTS,
    build_network,
    called_with,
    draw_inputs,
    draw_sequences,
    supported_inputs,
)
from slmk.testing.recurrent_checks import RECURRENT_CHECKS
from slmk.testing.subject import Skip, Subject

__all__ = [
    "INPUTS",
    "NETWORK_CHECKS",
    "build_network",
    "check_net_compiles",
    "check_net_ensemble",
    "check_net_every_parameter_gets_a_gradient",
    "check_net_initial_weights",
    "check_net_rows_are_independent",
    "check_net_shapes",
    "check_net_state_round_trip",
    "check_net_works_with_functional_call",
    "draw_inputs",
    "supported_inputs",
]


def check_net_shapes(subject: Subject) -> str | None:
    """Gives (*batch, outputs) float32 for batches (), (B,) and (T, B) of every space, or refuses with a SpecError."""
    refused = []
    for name, inputs in INPUTS.items():
        try:
            network = build_network(subject, inputs)
        except SpecError:
            refused.append(name)
            continue
        for batch in ((), (7,), (2, 7)):
            _check_output(network, name, draw_inputs(called_with(network, inputs), batch), batch)
    assert len(refused) < len(INPUTS), f"it refuses every kind of observation: {', '.join(refused)}"
    return f"refuses {', '.join(refused)}" if refused else None


def check_net_rows_are_independent(subject: Subject) -> None:
    """Where no gradient is computed, a row's features do not depend on the other rows of its batch."""
    for inputs in supported_inputs(subject):
        network = build_network(subject, inputs)
        obs = draw_inputs(inputs, (6,))
        with torch.no_grad():
            together = network(obs)
            alone = torch.stack([network({name: x[row] for name, x in obs.items()}) for row in range(6)])
        worst = (together - alone).abs().max().item()
        assert worst <= 1e-4 * (1 + together.abs().max().item()), (
            f"a row of a batch and the row alone differ by {worst:.2g}; normalise by running statistics when acting"
        )


def check_net_every_parameter_gets_a_gradient(subject: Subject) -> None:
    """Every trainable parameter has a gradient that is not zero everywhere, and inputs are left as they are."""
    for inputs in supported_inputs(subject):
        network = build_network(subject, inputs)
        obs = draw_inputs(inputs, (64,))
        before = copy_of(obs)
        # Squares, as the plain sum has no gradient through a normalisation of the features.
        network(obs).square().sum().backward()
        changed = first_difference(before, obs)
        assert changed is None, f"the observation group {changed} was changed in place"
        without = [
            name for name, p in network.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
        ]
        assert not without, f"no gradient reaches {', '.join(without)} from the groups {sorted(inputs)}"


def check_net_initial_weights(subject: Subject) -> None:
    """Initial weights depend on the given generator alone; global random state is neither read nor moved."""
    inputs = next(supported_inputs(subject))
    before = torch.get_rng_state()
    networks = [build_network(subject, inputs, seed).state_dict() for seed in (1, 1, 2)]
    moved = not equal(torch.get_rng_state(), before)
    torch.set_rng_state(before)
    difference = first_difference(networks[0], networks[1])
    assert difference is None, f"two networks from one generator differ in {difference}: draw it from the generator"
    assert not moved, "torch's global generator was used; draw from the given one, also what is overwritten later"
    if networks[0]:
        assert first_difference(networks[0], networks[2]), "the initial weights do not depend on the generator"


def check_net_works_with_functional_call(subject: Subject) -> None:
    """Parameters that `torch.func.functional_call` puts in are used, and the module's own stay as they are."""
    inputs = next(supported_inputs(subject))
    one, other = (build_network(subject, inputs, seed) for seed in (1, 2))
    obs, before = draw_inputs(inputs, (7,)), copy_of(one.state_dict())
    with torch.no_grad():
        swapped = functional_call(one, dict(other.named_parameters()) | dict(other.named_buffers()), (obs,))
        expected = other(obs)
    assert equal(swapped, expected), "functional_call with another network's parameters does not act like that network"
    changed = first_difference(before, one.state_dict())
    assert changed is None, f"functional_call changed the network's own {changed}"


def check_net_ensemble(subject: Subject) -> None:
    """An ensemble gives (members, *batch, outputs), any members on demand; each has features of its own."""
    for groups in supported_inputs(subject):
        try:
            network = build_network(subject, groups, ensemble=3)
        except SpecError as error:
            raise Skip(f"it refuses ensembles: {error}") from error
        obs = draw_inputs(called_with(network, groups), (2, 7))
        with torch.no_grad():
            features, some = network(obs), network(obs, members=torch.tensor([2, 0]))
        expected = (3, 2, 7, OUTPUTS)
        assert features.shape == expected, f"an ensemble's features have shape {tuple(features.shape)}, not {expected}"
        assert not torch.allclose(features[0], features[1]), "two members are the same network: draw them apart"
        assert torch.allclose(some, features[[2, 0]], atol=1e-5), "members=[2, 0] are not the members 2 and 0"


def check_net_compiles(subject: Subject) -> None:
    """`torch.compile` traces it as one graph, with gradients, and the result agrees with eager to 1e-4."""
    inputs = next(supported_inputs(subject))
    network = build_network(subject, inputs)
    _check_compiled(network, draw_inputs(inputs, (7,)))
    if "carry" in inputs:
        _check_compiled(network, draw_sequences(inputs, 3, 2))


def check_net_state_round_trip(subject: Subject) -> None:
    """Another network that loads the state gives the same features, bit for bit."""
    inputs = next(supported_inputs(subject))
    one, other = (build_network(subject, inputs, seed) for seed in (1, 2))
    obs = draw_inputs(inputs, (7,))
    one(obs)  # With gradients, so that statistics move, if there are any.
    other.load_state_dict(copy_of(one.state_dict()))
    with torch.no_grad():
        assert equal(one(obs), other(obs)), "a network with the loaded state_dict gives other features"


def _check_compiled(network: nn.Module, obs: Obs) -> None:
    # A copy, since features such as batch normalisation may move buffers. The backend traces and compiles nothing.
    # Isolated, since torch gives up on code that was compiled for eight other networks before.
    compiled = torch.compile(copy.deepcopy(network), fullgraph=True, backend="aot_eager", isolate_recompiles=True)  # type: ignore[call-overload]
    try:
        found, expected = compiled(obs), network(obs)
    except Exception as error:
        raise AssertionError(f"torch.compile(fullgraph=True) fails: {error}") from error
    assert torch.allclose(found, expected, atol=1e-4), "the compiled network gives other features"


def _check_output(network: nn.Module, name: str, obs: Obs, batch: tuple[int, ...]) -> None:
    with torch.no_grad():
        features = network(obs)
    where = f"from {name} observations with batch {batch}"
    assert isinstance(features, Tensor), f"features {where} are a {type(features).__name__}, not a tensor"
    assert features.shape == (*batch, OUTPUTS), (
        f"features {where} have shape {tuple(features.shape)}, expected {(*batch, OUTPUTS)}"
    )
    assert features.dtype == torch.float32, f"features {where} are {features.dtype}, expected float32"
    assert torch.isfinite(features).all(), f"features {where} are not finite"


NETWORK_CHECKS = (
    check_net_shapes,
    check_net_rows_are_independent,
    check_net_every_parameter_gets_a_gradient,
    check_net_initial_weights,
    check_net_works_with_functional_call,
    check_net_compiles,
    check_net_state_round_trip,
    check_net_ensemble,
    *RECURRENT_CHECKS,
)
"""All of these checks."""
