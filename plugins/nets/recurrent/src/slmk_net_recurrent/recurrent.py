"""The recurrent network: layers, a cell, layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from slmk import Obs, Problem, SpecError
from slmk.batch import FIRST
from slmk.protocols import Role
from slmk.toolbox.encoding import Encode, encoder
from slmk.toolbox.layers import ACTIVATIONS, affine, linear
from slmk_net_recurrent import RecurrentConfig
from slmk_net_recurrent.cells import CELLS, cell_parameters

__all__ = ["Recurrent"]

Weights = Mapping[str, Tensor]
"""Parameters by name; those of an ensemble, or of some of its members, with an axis in front."""
Encoders = tuple[tuple[str, Encode], ...]
"""Groups by name, in order, and how each becomes a vector."""
Names = tuple[str, str]
"""Names of the weight and of the bias of a layer."""


class Recurrent(nn.Module):
    """Observation groups, joined in order, through layers, a cell and layers to ``role.outputs`` features.

    Extra inputs of the role, such as the action of which a critic is asked, join after the cell: what is remembered is
    the history of observations, and serves any action.

    Rows that bring a carry each are single steps. Where there is one carry for a whole sequence, the network unrolls:
    everything but the cell is computed for all steps at once.

    Inside, batches are rows (R, features), and (E, R, features) in an ensemble of E members, each with a memory of its
    own: the same code serves both.
    """

    def __init__(
        self,
        config: RecurrentConfig,
        inputs: Mapping[str, spaces.Space[Any]],
        role: Role,
        generator: torch.Generator,
    ) -> None:
        """See `slmk.hookspecs.slmk_networks`.

        Raises:
            SpecError: a group's space cannot become a vector; or extra inputs would meet what is remembered in the
                last, linear layer.
        """
        super().__init__()
        self._cell, self._hidden, self._members = CELLS[config.cell], config.hidden, role.ensemble
        self._activation = ACTIVATIONS[config.activation]
        if role.extra and not config.head:
            message = f"{' and '.join(role.extra)} would only be added to what is remembered: there is no layer between"
            expected, hint = "a head of one layer or more", "set head = [64]"
            raise SpecError([Problem(message, "network", expected=expected, hint=hint)])
        observed = {name: encoder(name, space) for name, space in inputs.items() if name not in role.extra}
        extra = {name: encoder(name, inputs[name]) for name in role.extra}
        self._encoders, self._extra = (
            tuple((name, encode) for name, (encode, _) in each.items()) for each in (observed, extra)
        )
        width, extra_width = (sum(width for _, width in each.values()) for each in (observed, extra))
        self.carry = max(1, role.ensemble) * self._cell.states * config.hidden
        """Width of what is remembered: the carries of all members, one after the other."""

        before = (width, *config.encoder)
        after = (config.hidden + extra_width, *config.head)
        layer = partial(linear, scheme=config.init, generator=generator, ensemble=role.ensemble)
        gain = math.sqrt(2) if config.init == "orthogonal" else 1.0
        self._before = [
            self._add(f"encoder_{k}", layer(*widths, gain=gain)) for k, widths in enumerate(pairwise(before))
        ]
        cell = cell_parameters(self._cell, before[-1], config.hidden, config.init, generator, role.ensemble)
        self._input, self._state = (self._add(name, parameters) for name, parameters in cell.items())
        self._after = [self._add(f"head_{k}", layer(*widths, gain=gain)) for k, widths in enumerate(pairwise(after))]
        self._out = self._add("out", layer(after[-1], role.outputs, gain=role.gain))

    def forward(self, obs: Obs, members: Tensor | None = None) -> Tensor:
        """Features (*batch, outputs), or (members, *batch, outputs) of an ensemble.

        Args:
            obs: groups, each (*batch, *shape), among them ``first``; ``carry`` is (*batch, width) for single steps, and
                without the leading axis, that of time, for sequences.
            members: indices of the members that are asked; all by default.
        """
        weights, first = self._of(members), obs[FIRST]
        from_input, carry = self._from_input(obs, weights), self._carries(obs, members)
        if obs["carry"].dim() > first.dim():
            carry = self._step(from_input, carry, weights)
        else:
            carry = self._unroll(from_input, carry, first.reshape(len(first), -1), weights)
        features = _map(self._layers(self._with_extra(carry, obs), weights, self._after), weights, self._out)
        return features.reshape(*features.shape[:-2], *first.shape, features.shape[-1])

    def advance(self, obs: Obs) -> Tensor:
        """What the network remembers after one step, (*batch, carry); without the extra inputs of its role."""
        weights = self._of(None)
        after = self._step(self._from_input(obs, weights), self._carries(obs, None), weights)
        return (after.transpose(0, 1) if self._members else after).reshape(obs["carry"].shape)

    def _unroll(self, from_input: Tensor, carry: Tensor, first: Tensor, weights: Weights) -> Tensor:
        """The carry after each of L steps of B sequences, (L·B, carry), forgetting where an episode begins.

        Args:
            from_input: what the inputs give to the gates (L·B, gates · H).
            carry: before the first step (B, carry); where an episode begins there, the run has made it zero.
            first: which rows begin an episode (L, B).
            weights: the parameters.
        """
        after = []
        for step, gates in enumerate(from_input.chunk(len(first), -2)):
            if step > 0:
                carry = carry.masked_fill(first[step].unsqueeze(-1), 0.0)
            carry = self._step(gates, carry, weights)
            after.append(carry)
        return torch.cat(after, -2)

    def _step(self, from_input: Tensor, carry: Tensor, weights: Weights) -> Tensor:
        return self._cell.step(from_input, _map(self._output(carry), weights, self._state), carry)

    def _from_input(self, obs: Obs, weights: Weights) -> Tensor:
        """What the groups give to the gates of the cell, (R, gates · H)."""
        x = _rows(obs, self._encoders)
        return _map(self._layers(x, weights, self._before), weights, self._input)

    def _with_extra(self, carry: Tensor, obs: Obs) -> Tensor:
        """h, joined with the extra inputs of each step, (R, H + extra)."""
        h = self._output(carry)
        if not self._extra:
            return h
        extra = _rows(obs, self._extra)
        return torch.cat([h, extra.expand(*h.shape[:-1], extra.shape[-1])], -1)

    def _layers(self, x: Tensor, weights: Weights, names: Sequence[Names]) -> Tensor:
        for each in names:
            x = self._activation(_map(x, weights, each))
        return x

    def _carries(self, obs: Obs, members: Tensor | None) -> Tensor:
        """The group ``carry`` as rows."""
        rows = obs["carry"].reshape(-1, self.carry)
        if not self._members:
            return rows
        apart = rows.view(len(rows), self._members, -1).transpose(0, 1)
        return apart if members is None else apart[members]

    def _output(self, carry: Tensor) -> Tensor:
        """h, which a carry begins with."""
        return carry if self._cell.states == 1 else carry[..., : self._hidden]

    def _of(self, members: Tensor | None) -> Weights:
        """The parameters of all members, or of some; from the dictionary, as looking up attributes costs time."""
        parameters: Any = self._parameters
        return parameters if members is None else {name: value[members] for name, value in parameters.items()}

    def _add(self, name: str, layer: tuple[nn.Parameter, nn.Parameter]) -> Names:
        names = f"weight_{name}", f"bias_{name}"
        for each, parameter in zip(names, layer, strict=True):
            self.register_parameter(each, parameter)
        return names


def _rows(obs: Obs, encoders: Encoders) -> Tensor:
    """Some groups as rows of one vector each, (R, width)."""
    encoded = [encode(obs[name]) for name, encode in encoders]
    x = encoded[0] if len(encoded) == 1 else torch.cat(encoded, -1)
    return x.reshape(-1, x.shape[-1])


def _map(x: Tensor, weights: Weights, names: Names) -> Tensor:
    weight, bias = names
    return affine(x, weights[weight], weights[bias])
