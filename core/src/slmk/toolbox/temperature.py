"""The temperature of maximum-entropy algorithms: what a nat of entropy is worth, in units of reward."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from gymnasium import spaces
from torch import Tensor, nn

__all__ = ["DISCRETE_SHARE", "Temperature", "target_entropy", "temperature_loss"]

DISCRETE_SHARE = 0.3
"""The target entropy as a share of log n, the entropy of a uniform choice among n actions; see `target_entropy`."""


class Temperature(nn.Module):
    """α as the exponential of its one parameter ``log_alpha``, so that it is positive whatever the optimiser does."""

    def __init__(self, initial: float = 1.0, *, learned: bool = True) -> None:
        """Start at α = `initial`, which may be 0 for one that is not `learned`: a parameter without a gradient."""
        super().__init__()
        log_alpha = torch.tensor(math.log(initial) if initial else -math.inf)
        self.log_alpha = nn.Parameter(log_alpha, requires_grad=learned)

    @classmethod
    def of(cls, setting: Literal["auto"] | float, initial: float) -> Temperature:
        """A fixed one of that value, or one that is learned and starts at `initial` where the setting is ``auto``."""
        return cls(initial) if setting == "auto" else cls(setting, learned=False)

    @property
    def learned(self) -> bool:
        """Whether there is anything to train."""
        return self.log_alpha.requires_grad

    def forward(self) -> Tensor:
        """α, 0-dim."""
        return self.log_alpha.exp()


def temperature_loss(alpha: Tensor, entropy: Tensor, target: float) -> Tensor:
    """J(α) = α (H − H̄): Haarnoja et al. (2018), arXiv:1812.05905, eq. 18, with H for E[−log π].

    Its gradient with respect to log α is α (H − H̄): α falls while there is more entropy than the target asks for.

    Args:
        alpha: α, 0-dim, to be differentiated.
        entropy: H, mean entropy of the policy in nats, 0-dim.
        target: H̄ in nats.
    """
    return alpha * (entropy - target)


def target_entropy(setting: Literal["auto"] | float, space: spaces.Space[Any], *, per_dimension: float = -1.0) -> float:
    """The mean entropy, in nats, that a policy is to keep: as the setting says, or a rule of thumb for ``auto``.

    That is −1 for each dimension of continuous actions in (−1, 1), the heuristic of arXiv:1812.05905, appendix D, where
    uniform ones have log 2; and `DISCRETE_SHARE` of log n for n discrete actions. Christodoulou (2019),
    arXiv:1910.07207, has 0.98 there, which keeps a policy close to uniform in every state.

    Args:
        setting: nats, or ``auto``.
        space: of one environment's actions; a Box or Discrete.
        per_dimension: nats for each dimension of continuous actions, for ``auto``.
    """
    if setting != "auto":
        return setting
    if isinstance(space, spaces.Discrete):
        return DISCRETE_SHARE * math.log(int(space.n))
    return per_dimension * math.prod(space.shape or ())
