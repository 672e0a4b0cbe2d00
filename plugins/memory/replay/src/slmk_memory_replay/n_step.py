"""The rewards of several steps as one."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["n_step_return"]


def n_step_return(reward: Tensor, steps: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """The discounted sum of rewards, and the discount of the value that follows them, each (B,) float32.

    That is r₁ + γ r₂ + … + γᵐ⁻¹ rₘ and γᵐ (Sutton & Barto 2018, equation 7.1, without and of its last term).

    Args:
        reward: (n, B) float32, of n consecutive steps.
        steps: m, how many of them count (B,), from 1 to n.
        gamma: γ.
    """
    powers, place = _powers(gamma, len(reward), reward.device)
    total = torch.where(place < steps, reward * powers[:-1], 0.0).sum(0)
    return total, powers.squeeze(-1)[steps]


@lru_cache(maxsize=16)
def _powers(gamma: float, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """γ⁰ to γⁿ, rounded from float64, and 0 to n − 1, as columns (n + 1, 1) and (n, 1)."""
    exponents = torch.arange(n + 1, dtype=torch.float64)
    powers = (gamma**exponents).float().unsqueeze(-1)
    return powers.to(device), torch.arange(n, device=device).unsqueeze(-1)
