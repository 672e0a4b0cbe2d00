"""Surrogate objectives: what several updates on the same experience maximise in place of the return."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["clipped_surrogate"]


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: Tensor) -> Tensor:
    """min(ρ A, clamp(ρ, 1 − ε, 1 + ε) A): Schulman et al. (2017), arXiv:1707.06347, eq. 7, before the mean.

    A lower bound of ρ A that stops rewarding a change of the policy once it has gone further than ε.

    Args:
        ratio: ρ = π(a|s) / π_old(a|s), (*batch,).
        advantage: A, (*batch,).
        clip: ε, 0-dim.

    Returns:
        (*batch,), to be maximised.
    """
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
