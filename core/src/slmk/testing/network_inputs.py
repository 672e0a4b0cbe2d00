"""Building the network under test, and what it is called with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from slmk.batch import FIRST, Obs
from slmk.errors import SpecError
from slmk.protocols import Role
from slmk.testing.subject import Subject

__all__ = [
    "INPUTS",
    "OUTPUTS",
    "STATE",
    "build_network",
    "called_with",
    "draw_inputs",
    "draw_sequences",
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
STATE = ("carry", FIRST)
"""Groups that are a recurrent network's own state; see `slmk.recurrence`."""


def build_network(
    subject: Subject, inputs: Inputs, seed: int = 0, ensemble: int = 0, extra: Inputs = MappingProxyType({})
) -> nn.Module:
    """The network under test, for a role with five outputs; its own state, if among `inputs`, is no group it reads.

    Args:
        subject: the network.
        inputs: observation groups.
        seed: of its weights.
        ensemble: members, if any.
        extra: inputs of the role besides (`slmk.protocols.Role.extra`).

    Raises:
        SpecError: it cannot read these groups, or have members.
    """
    groups = {name: space for name, space in inputs.items() if name not in STATE}
    role, generator = Role(OUTPUTS, extra=extra, ensemble=ensemble), torch.Generator().manual_seed(seed)
    return subject.target()(subject.config(), {**groups, **extra}, role, generator)  # type: ignore[no-any-return]


def called_with(network: nn.Module, groups: Inputs) -> Inputs:
    """What the network is called with: the groups that it reads, and its own state where it remembers anything."""
    width = getattr(network, "carry", 0)
    return {**groups, "carry": spaces.Box(-1, 1, (width,)), FIRST: spaces.MultiBinary(())} if width else groups


def draw_inputs(inputs: Inputs, batch: tuple[int, ...], seed: int = 0) -> Obs:
    """Random groups (*batch, *shape) with the dtypes of the contract."""
    rng = np.random.default_rng(seed)
    return {name: _draw(space, batch, rng) for name, space in inputs.items()}


def draw_sequences(inputs: Inputs, length: int, batch: int, seed: int = 0) -> Obs:
    """The same as `length` steps (L, B, …) with one carry for each sequence (B, width)."""
    obs = draw_inputs(inputs, (length, batch), seed)
    return {**obs, "carry": obs["carry"][0]}


def supported_inputs(subject: Subject) -> Iterator[Inputs]:
    """What the network is called with, for those of `INPUTS` for which it can be built."""
    for inputs in INPUTS.values():
        try:
            network = build_network(subject, inputs)
        except SpecError:
            continue
        yield called_with(network, inputs)


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
