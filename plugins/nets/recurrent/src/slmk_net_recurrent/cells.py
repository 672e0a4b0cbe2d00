"""One step of a GRU and of an LSTM, with the equations of `torch.nn.GRUCell` and `torch.nn.LSTMCell`.

What a cell remembers is one tensor, its carry (…, states · H), whose first H features are its output h. The products
with the weights are the caller's: those of the inputs can be made for many steps at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from slmk.config import Init
from slmk.toolbox.layers import linear

__all__ = ["CELLS", "Cell", "cell_parameters", "gru", "lstm"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A kind of cell, of any width H."""

    step: Callable[[Tensor, Tensor, Tensor], Tensor]
    """Gives the next carry, from what the inputs and what h give to each gate, both (…, gates · H), and from the carry
    (…, states · H)."""
    gates: int
    states: int
    forget: int | None = None
    """The gate that has a bias of 1 at first, so that the cell remembers before it has learned to."""


def gru(from_input: Tensor, from_state: Tensor, carry: Tensor) -> Tensor:
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), with the reset gate after the product, as in cuDNN.

    r = σ(x_r + h_r), z = σ(x_z + h_z), n = tanh(x_n + r h_n), h' = (1 − z) n + z h, where x_r is what the inputs give
    to the gate r, and h_r what the state does.
    """
    x_rz, x_n = _split(from_input, 2, 1)
    h_rz, h_n = _split(from_state, 2, 1)
    reset, update = (x_rz + h_rz).sigmoid().chunk(2, -1)
    new = torch.addcmul(x_n, reset, h_n).tanh()
    return torch.lerp(new, carry, update)


def lstm(from_input: Tensor, from_state: Tensor, carry: Tensor) -> Tensor:
    """Long short-term memory (Hochreiter & Schmidhuber 1997) with forget gates (Gers et al. 2000).

    With i, f, o = σ(·) and g = tanh(·) of x + h in each gate: c' = f c + i g, h' = o tanh(c'). The carry is (h, c).
    """
    enter, forget, new, leave = (from_input + from_state).chunk(4, -1)
    memory = torch.addcmul(forget.sigmoid() * carry.chunk(2, -1)[1], enter.sigmoid(), new.tanh())
    return torch.cat([leave.sigmoid() * memory.tanh(), memory], -1)


def _split(x: Tensor, *shares: int) -> tuple[Tensor, ...]:
    """Along the last axis, in proportion to `shares`."""
    width = x.shape[-1] // sum(shares)
    return torch.split(x, [share * width for share in shares], -1)


CELLS: Final = {"gru": Cell(gru, gates=3, states=1), "lstm": Cell(lstm, gates=4, states=2, forget=1)}
"""Every kind by its name. Gates are in torch's order: r, z, n and i, f, g, o."""


def cell_parameters(
    cell: Cell, inputs: int, hidden: int, scheme: Init, generator: torch.Generator, ensemble: int = 0
) -> dict[str, tuple[nn.Parameter, nn.Parameter]]:
    """Weight and bias of the products with ``input`` and ``state``, the gates side by side, each drawn by itself.

    The scheme is that of the inputs. Weights from the state are orthogonal: they keep the length of what is remembered.
    The forget gate's bias is 1 (Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent Network Architectures").
    """
    from_input = [linear(inputs, hidden, scheme, generator, ensemble=ensemble) for _ in range(cell.gates)]
    from_state = [linear(hidden, hidden, "orthogonal", generator, ensemble=ensemble) for _ in range(cell.gates)]
    if cell.forget is not None:
        from_input[cell.forget][1].data.fill_(1.0)
    return {"input": _side_by_side(from_input), "state": _side_by_side(from_state)}


def _side_by_side(gates: Sequence[tuple[nn.Parameter, nn.Parameter]]) -> tuple[nn.Parameter, nn.Parameter]:
    weights, biases = zip(*gates, strict=True)
    return nn.Parameter(torch.cat(weights, -1).detach()), nn.Parameter(torch.cat(biases, -1).detach())
