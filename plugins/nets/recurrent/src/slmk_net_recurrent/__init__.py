"""Recurrent networks: options and registration. The network itself is in `slmk_net_recurrent.recurrent`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from slmk import Activation, Component, Init, PositiveInt, RecurrentNetworkConfig, hookimpl

__all__ = ["RecurrentConfig"]


class RecurrentConfig(RecurrentNetworkConfig):
    """Options of a recurrent network: layers, a cell that remembers, layers, and a linear layer at the end."""

    cell: Literal["gru", "lstm"] = "gru"
    """What remembers: a gated recurrent unit (Cho et al. 2014) or a long short-term memory (Hochreiter 1997)."""
    hidden: PositiveInt = 64
    """Width of the cell's output. What is carried from step to step is as wide for a GRU, twice that for an LSTM."""
    encoder: tuple[PositiveInt, ...] = (64,)
    """Widths of the layers before the cell; empty for none."""
    head: tuple[PositiveInt, ...] = ()
    """Widths of the layers after the cell, before the last one; empty for none."""
    activation: Activation = "tanh"
    """The nonlinearity after each layer before and after the cell."""
    init: Init = "orthogonal"
    """Initial weights of the layers and of the cell's inputs: ``orthogonal`` (gain √2 in layers, biases 0),
    ``lecun_uniform`` (±√(3 / inputs), biases 0; JAX's habit), ``kaiming_uniform`` (±√(6 / inputs), biases 0) or
    ``pytorch`` (±√(1 / inputs), biases too). The last layer has the gain of its role. In all of them a cell's weights
    from its own state are orthogonal, each gate by itself, and an LSTM's forget gate has bias 1."""


@hookimpl
def slmk_networks() -> Iterable[Component]:
    """Offer ``recurrent``."""
    return [Component("recurrent", RecurrentConfig, "slmk_net_recurrent.recurrent:Recurrent", "GRU or LSTM")]
