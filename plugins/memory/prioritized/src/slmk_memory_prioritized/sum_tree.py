"""A sum tree: draws leaves in proportion to their values, and changes many of them at once."""

from __future__ import annotations

from math import inf, isfinite

import torch
from torch import Tensor

from slmk import RunError

__all__ = ["SumTree"]

BLOCKS = 2**15
"""Nodes of the middle level, at most. Summing up so many takes as long as a few operations on a batch."""
_SHARE = 1 - 2.0**-40
"""The share of the whole that is drawn from, so that rounding does not lead beyond its end."""


class SumTree:
    """Values of leaves, their sums by blocks, and the sum of these.

    A binary tree of a million leaves takes 20 steps to find one, each of several small operations on the batch, which
    cost the same whether they handle two children or many. With blocks of 32 leaves there are two steps.

    Sums are float64 and always made anew from the values, never moved by differences, so that rounding cannot build up.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        """Make a tree of `size` leaves that are all 0."""
        self._size = size
        self._bits = max(5, (-(-size // BLOCKS) - 1).bit_length())
        blocks = -(-size >> self._bits)
        self._values = torch.zeros(blocks, 1 << self._bits, dtype=torch.float64, device=device)
        self._ends = torch.zeros_like(self._values)
        """Where each leaf ends within its block, if all lie side by side; infinitely far where only zeros follow."""
        self._sums = torch.zeros(blocks, dtype=torch.float64, device=device)
        self._edges = torch.zeros(blocks + 1, dtype=torch.float64, device=device)
        """Ends of the blocks in the sum of all leaves; the first entry is 0, where the first block begins."""
        self._block_ends, self._total = self._edges[1:], self._edges[-1]
        self._parts = torch.zeros(0, dtype=torch.float64, device=device)
        """The numbers 0, 1, 2, …, as many as were drawn last."""

    @property
    def values(self) -> Tensor:
        """The values of all leaves, (size or some more,) float64. Not to be written to."""
        return self._values.view(-1)

    def write(self, leaf: Tensor, value: Tensor) -> None:
        """Set leaves (B,) to values (B,) of 0 or more. Where a leaf occurs twice, one of its values counts."""
        self.values[leaf] = value
        block = leaf >> self._bits
        if len(block) > len(self._sums):  # Many leaves share blocks: rather take every block once.
            block = torch.arange(len(self._sums), device=block.device)
        ends = self._values.index_select(0, block).cumsum(-1)
        total = ends[:, -1:]
        self._ends.index_copy_(0, block, ends.masked_fill(ends >= total, inf))
        self._sums[block] = total.squeeze(-1)
        torch.cumsum(self._sums, 0, out=self._block_ends)

    def checked(self) -> float:
        """The total of all values; waits for the device.

        Raises:
            RunError: a value is not finite.
        """
        total = self._total.item()
        if not isfinite(total):
            raise RunError("a priority is not finite: training has diverged, and an error was nan or infinite")
        return total

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw a leaf from each of `count` equal parts of the total, in proportion to values: (count,), in order.

        Raises:
            RunError: a value is not finite. Only on a CPU is there a check: elsewhere it would wait for the device, and
                any leaves are drawn.
        """
        total = self.checked() if self._total.is_cpu else self._total
        if len(self._parts) != count:
            self._parts = torch.arange(count, dtype=torch.float64, device=self._total.device)
        place = torch.rand(count, dtype=torch.float64, generator=generator, device=self._total.device)
        return self.find(place.add_(self._parts).mul_(total * (_SHARE / count)))

    def find(self, place: Tensor) -> Tensor:
        """The leaves at places (B,), where all lie side by side and each is as long as its value: (B,).

        None has the value 0, as long as there is another: it is the first that ends behind the place. Where rounding
        has brought the place to the end of its block, it is the last of the block that is not 0.

        Args:
            place: float64, from 0 to less than the total. Where that is not finite, some leaf is found.
        """
        # Clamped for such places: an index beyond the end would cost a GPU's process its whole context.
        block = torch.searchsorted(self._block_ends, place, right=True).clamp_(max=len(self._sums) - 1)
        rest = place - self._edges.index_select(0, block)
        leaf = torch.searchsorted(self._ends.index_select(0, block), rest.unsqueeze(-1), right=True)
        return torch.add(leaf.squeeze(-1), block, alpha=1 << self._bits).clamp_(max=self._size - 1)
