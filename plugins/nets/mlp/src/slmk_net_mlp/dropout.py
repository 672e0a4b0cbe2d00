"""Dropout whose noise is counted rather than drawn: the same in a compiled update, on any device and after a resume."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

__all__ = ["Dropout"]

WORD: Final = 0xFFFFFFFF
"""The largest number of 32 bits."""


class Dropout(nn.Module):
    """Sets a share of the features to 0 and scales up the rest, at every call: Srivastava et al. (2014).

    Which features go is a hash of their place and of how many elements there have been so far: a compiled update can
    hold no random generator, and a checkpoint that keeps the counter keeps the noise.
    """

    counter: Tensor

    def __init__(self, share: float, generator: torch.Generator) -> None:
        """
        Args:
            share: of features set to 0, in [0, 1).
            generator: for the count to start from, so that layers differ.
        """
        super().__init__()
        self.share = share
        # Of shape (1,): inductor (torch 2.13) loses an in-place change of a 0-dim CPU tensor.
        start = torch.randint(WORD, (1,), generator=generator, device=generator.device)
        self.register_buffer("counter", start)

    def forward(self, x: Tensor) -> Tensor:
        """Features (*batch, F), fewer."""
        place = torch.arange(x.numel(), device=x.device)
        kept = _hash(place + self.counter) >= self.share * (WORD + 1)
        self.counter.add_(x.numel()).bitwise_and_(WORD)
        return torch.where(kept.view_as(x), x / (1 - self.share), 0.0)


def _hash(x: Tensor) -> Tensor:
    """32 bits of int64 numbers, evenly spread: the mixing function "lowbias32" of Chris Wellons' hash-prospector."""
    x = x & WORD
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & WORD
    return x ^ (x >> 16)
