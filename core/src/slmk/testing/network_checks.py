"""Checks of the promises that every network makes, one function per promise."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.func import functional_call

from slmk.batch import Obs
from slmk.errors import SpecError
from slmk.protocols import Role
from slmk.testing.compare import copy_of, equal, first_difference
from slmk.testing.subject import Subject

__all__ = [
    "INPUTS",
    "NETWORK_CHECKS",
    "build_network",
    "check_net_compiles",
    "check_net_every_parameter_gets_a_gradient",
    "check_net_initial_weights",
    "check_net_rows_are_independent",
    "check_net_shapes",
    "check_net_state_round_trip",
    "check_net_works_with_functional_call",
    "draw_inputs",
    "supported_inputs",
]

Inputs = Mapping[str, spaces.Space[Any]]

INPUTS: dict[str, Inputs] = {
    "vector": {"obs": spaces.Box(-np.inf, np.inf, (3,), np.float32)},
    "matrix": {"obs": spaces.Box(-1, 1, (2, 3), np.float32)},
    "number": {"obs": spaces.Box(-1, 1, (), np.float32)},
    "picture": {"pixels": spaces.Box(0, 255, (64, 64, 3), np.uint8)},
    "discrete": {"obs": spaces.Discrete(3, start=1)},
    "multi-discrete": {"obs": spaces.MultiDiscrete([3, 2])},
    "multi-binary": {"obs": spaces.MultiBinary(3)},
    "two groups": {"state": spaces.Box(-1, 1, (3,), np.float32), "hint": spaces.MultiBinary(2)},
}
"""Groups that a role may read, by name."""
OUTPUTS = 5


def build_network(subject: Subject, inputs: Inputs, seed: int = 0) -> nn.Module:
    """The network under test, for a role with five outputs.

    Raises:
        SpecError: it cannot read these groups.
    """
    role = Role(OUTPUTS)
    return subject.target()(subject.config(), inputs, role, torch.Generator().manual_seed(seed))  # type: ignore[no-any-return]


def draw_inputs(inputs: Inputs, batch: tuple[int, ...], seed: int = 0) -> Obs:
    """Random groups (*batch, *shape) with the dtypes of the contract."""
    rng = np.random.default_rng(seed)
    return {name: _draw(space, batch, rng) for name, space in inputs.items()}


def supported_inputs(subject: Subject) -> Iterator[Inputs]:
    """Those of `INPUTS` for which the network can be built."""
    for inputs in INPUTS.values():
        try:
            build_network(subject, inputs)
        except SpecError:
            continue
        yield inputs


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
            _check_output(network, name, draw_inputs(inputs, batch), batch)
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


def check_net_compiles(subject: Subject) -> None:
    """`torch.compile` traces it as one graph, with gradients, and the result agrees with eager to 1e-4."""
    inputs = next(supported_inputs(subject))
    network, obs = build_network(subject, inputs), draw_inputs(inputs, (7,))
    # A copy, since features such as batch normalisation may move buffers. The backend traces and compiles nothing.
    compiled = torch.compile(copy.deepcopy(network), fullgraph=True, backend="aot_eager")
    try:
        found, expected = compiled(obs), network(obs)
    except Exception as error:
        raise AssertionError(f"torch.compile(fullgraph=True) fails: {error}") from error
    assert torch.allclose(found, expected, atol=1e-4), "the compiled network gives other features"


def check_net_state_round_trip(subject: Subject) -> None:
    """Another network that loads the state gives the same features, bit for bit."""
    inputs = next(supported_inputs(subject))
    one, other = (build_network(subject, inputs, seed) for seed in (1, 2))
    obs = draw_inputs(inputs, (7,))
    one(obs)  # With gradients, so that statistics move, if there are any.
    other.load_state_dict(copy_of(one.state_dict()))
    with torch.no_grad():
        assert equal(one(obs), other(obs)), "a network with the loaded state_dict gives other features"


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


def _draw(space: spaces.Space[Any], batch: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    shape = (*batch, *(space.shape or ()))
    match space:
        case spaces.Discrete() | spaces.MultiDiscrete():
            sizes = space.n if isinstance(space, spaces.Discrete) else space.nvec
            return torch.as_tensor(rng.integers(space.start, space.start + sizes, shape))
        case spaces.MultiBinary():
            return torch.as_tensor(rng.integers(0, 2, shape, dtype=np.int8)).bool()
        case spaces.Box() if space.dtype == np.uint8:
            return torch.as_tensor(rng.integers(0, 256, shape, dtype=np.uint8))
    return torch.as_tensor(rng.uniform(-1, 1, shape), dtype=torch.float32)


NETWORK_CHECKS = (
    check_net_shapes,
    check_net_rows_are_independent,
    check_net_every_parameter_gets_a_gradient,
    check_net_initial_weights,
    check_net_works_with_functional_call,
    check_net_compiles,
    check_net_state_round_trip,
)
"""All of these checks."""
