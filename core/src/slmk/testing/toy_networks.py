"""The simplest networks that keep the contract: one that forgets and one that remembers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from slmk.batch import FIRST, Obs
from slmk.config import NetworkConfig, PositiveInt, RecurrentNetworkConfig
from slmk.errors import Problem, SpecError
from slmk.protocols import Role

__all__ = ["Elman", "ElmanConfig", "TwoLayers", "TwoLayersConfig"]


class TwoLayersConfig(NetworkConfig):
    """Options of ``toy-mlp``."""

    width: PositiveInt = 32
    """Units of the hidden layer."""


class TwoLayers(nn.Module):
    """A hidden layer of tanh units, with orthogonal weights, on groups of floats or bits joined in order."""

    def __init__(
        self,
        config: TwoLayersConfig,
        inputs: Mapping[str, spaces.Space[Any]],
        role: Role,
        generator: torch.Generator,
    ) -> None:
        """See `slmk.hookspecs.slmk_networks`.

        Raises:
            SpecError: a group is neither a Box nor MultiBinary.
        """
        super().__init__()
        self._read = _Reader(inputs)
        self.weight = _orthogonal(self._read.width, config.width, math.sqrt(2), generator, role.ensemble)
        self.bias = _zeros(config.width, role.ensemble)
        self.weight_out = _orthogonal(config.width, role.outputs, role.gain, generator, role.ensemble)
        self.bias_out = _zeros(role.outputs, role.ensemble)

    def forward(self, obs: Obs, members: Tensor | None = None) -> Tensor:
        """Groups, each (*batch, *shape), to (*batch, outputs), or (members, *batch, outputs) of an ensemble."""
        x = self._read(obs)
        hidden = torch.tanh(x.reshape(-1, x.shape[-1]) @ self.weight + self.bias)
        out = hidden @ self.weight_out + self.bias_out
        out = out.reshape(*out.shape[:-2], *x.shape[:-1], out.shape[-1])
        return out if members is None else out[members]


class ElmanConfig(RecurrentNetworkConfig):
    """Options of ``toy-recurrent``."""

    width: PositiveInt = 32
    """Units that remember."""


class Elman(nn.Module):
    """A layer that hears itself, h' = tanh(W x + U h), and a linear one that reads h' and the role's extra inputs."""

    def __init__(
        self,
        config: ElmanConfig,
        inputs: Mapping[str, spaces.Space[Any]],
        role: Role,
        generator: torch.Generator,
    ) -> None:
        """See `slmk.hookspecs.slmk_networks`.

        Raises:
            SpecError: a group is neither a Box nor MultiBinary.
        """
        super().__init__()
        observed = {name: space for name, space in inputs.items() if name not in role.extra}
        self._read, self._members = _Reader(observed), role.ensemble
        self._read_extra = _Reader({name: inputs[name] for name in role.extra})
        self.carry = config.width * max(1, role.ensemble)
        self.weight = _orthogonal(self._read.width, config.width, 1.0, generator, role.ensemble)
        self.weight_state = _orthogonal(config.width, config.width, 1.0, generator, role.ensemble)
        self.bias = _zeros(config.width, role.ensemble)
        width = config.width + self._read_extra.width
        self.weight_out = _orthogonal(width, role.outputs, role.gain, generator, role.ensemble)
        self.bias_out = _zeros(role.outputs, role.ensemble)

    def forward(self, obs: Obs, members: Tensor | None = None) -> Tensor:
        """Single steps, or sequences where the carry lacks their axis, to (*batch, outputs); see `slmk.recurrence`."""
        first = obs[FIRST]
        hidden = self._step(obs) if obs["carry"].dim() > first.dim() else self._unroll(obs)
        if self._read_extra.width:
            extra = self._read_extra(obs).reshape(-1, self._read_extra.width)
            hidden = torch.cat([hidden, extra.expand(*hidden.shape[:-1], -1)], -1)
        out = hidden @ self.weight_out + self.bias_out
        out = out.reshape(*out.shape[:-2], *first.shape, out.shape[-1])
        return out if members is None else out[members]

    def advance(self, obs: Obs) -> Tensor:
        """What is remembered after a step (*batch, carry)."""
        hidden = self._step(obs)
        return (hidden.transpose(0, 1) if self._members else hidden).reshape(obs["carry"].shape)

    def _step(self, obs: Obs) -> Tensor:
        """h' for each row, (R, width), or (E, R, width) of an ensemble."""
        hidden = obs["carry"].reshape(-1, self.carry)
        if self._members:
            hidden = hidden.view(len(hidden), self._members, -1).transpose(0, 1)
        return self._next(self._read(obs).reshape(-1, self._read.width), hidden)

    def _unroll(self, obs: Obs) -> Tensor:
        """The same for each step of the leading axis, one after the other."""
        first, hidden = obs[FIRST], [self._step(_at(obs, 0))]
        for step in range(1, len(first)):
            kept = hidden[-1].masked_fill(first[step].reshape(-1, 1), 0.0)
            hidden.append(self._next(self._read(_at(obs, step)).reshape(-1, self._read.width), kept))
        return torch.cat(hidden, -2)

    def _next(self, x: Tensor, hidden: Tensor) -> Tensor:
        return torch.tanh(x @ self.weight + hidden @ self.weight_state + self.bias)


def _at(obs: Obs, step: int) -> Obs:
    """One step of sequences, and the carry."""
    return {name: x if name == "carry" else x[step] for name, x in obs.items()}


class _Reader:
    """Joins groups of floats or bits in order."""

    def __init__(self, inputs: Mapping[str, spaces.Space[Any]]) -> None:
        shapes = {name: _shape(name, space) for name, space in inputs.items()}
        self._dims = {name: len(shape) for name, shape in shapes.items()}
        self.width = sum(map(math.prod, shapes.values()))

    def __call__(self, obs: Obs) -> Tensor:
        """(*batch, width)."""
        return torch.cat([_flat(obs[name], dims) for name, dims in self._dims.items()], -1)


def _shape(name: str, space: spaces.Space[Any]) -> tuple[int, ...]:
    if not isinstance(space, spaces.Box | spaces.MultiBinary):
        raise SpecError([Problem(f"a toy cannot read the group {name!r}", expected="a Box", found=str(space))])
    return tuple(space.shape)


def _flat(x: Tensor, dims: int) -> Tensor:
    """(*batch, width) floats; bytes become numbers up to 1, which do not saturate the units."""
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    return x.flatten(-dims) if dims else x.unsqueeze(-1)


def _orthogonal(inputs: int, outputs: int, gain: float, generator: torch.Generator, ensemble: int) -> nn.Parameter:
    """(inputs, outputs), or (ensemble, inputs, outputs)."""
    drawn = [
        nn.init.orthogonal_(torch.empty(outputs, inputs), gain, generator=generator).T for _ in range(ensemble or 1)
    ]
    return nn.Parameter(torch.stack(drawn) if ensemble else drawn[0].contiguous())


def _zeros(width: int, ensemble: int) -> nn.Parameter:
    """(width,), or (ensemble, 1, width)."""
    return nn.Parameter(torch.zeros(*((ensemble, 1) if ensemble else ()), width))
