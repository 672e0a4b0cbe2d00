"""Rollouts in random order, a part at a time, for several epochs of updates."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["minibatches"]


def minibatches(size: int, count: int, generator: torch.Generator) -> Tensor:
    """A random permutation of all samples (or windows), split into minibatches.

    Args:
        size: samples, a multiple of `count`.
        count: minibatches.
        generator: of the device on which the indices are wanted.

    Returns:
        Indices (count, size / count) int64, each from 0 to size − 1 once.

    Raises:
        RuntimeError: `size` is not a multiple of `count`.
    """
    return torch.randperm(size, generator=generator, device=generator.device).view(count, -1)
