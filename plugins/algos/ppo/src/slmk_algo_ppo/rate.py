"""The learning rate that keeps the change of the policy near a wanted KL divergence."""

from __future__ import annotations

import torch
from torch import Tensor

from slmk_algo_ppo import ByKL

__all__ = ["KLRate"]

FACTOR = 1.5
"""By how much the rate goes up or down at once."""
TOLERANCE = 2.0
"""The rate stays where the divergence is within this factor of the wanted one."""


class KLRate:
    """A learning rate as state on the device: smaller after a large divergence, larger after a small one.

    The rule is the schedule ``adaptive`` of RSL-RL (Schwarke et al. 2025, arXiv:2509.10771). There the divergence of a
    minibatch sets the rate of its own step; here, where that step measures it, the rate of the next one.
    """

    def __init__(self, config: ByKL, device: torch.device) -> None:
        """Start at ``config.start``."""
        self.config = config
        self.value = torch.full((), config.start, device=device)
        """The rate for the next step, ()."""

    def follow(self, kl: Tensor) -> None:
        """Adapt to the divergence () from the policy that acted. Nothing waits for the device."""
        config = self.config
        slower, faster = kl > TOLERANCE * config.kl, (kl < config.kl / TOLERANCE) & (kl > 0)
        change = torch.where(slower, 1 / FACTOR, torch.where(faster, FACTOR, 1.0))
        self.value.copy_((self.value * change).clamp(config.least, config.most))
