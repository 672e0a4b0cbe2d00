"""Discounted sums along time, and what is expected to follow."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bootstrapped", "discounted"]


def bootstrapped(reward: Tensor, discount: Tensor | float, terminated: Tensor, next_value: Tensor) -> Tensor:
    """r + γ V(s′), and r alone where the task ended: there is a value after a cut; (*batch,) like all arguments.

    What V is of a terminal state does not matter, not even where it is not a number.
    """
    return reward + discount * torch.where(terminated, 0.0, next_value)


def discounted(x: Tensor, discount: Tensor) -> Tensor:
    """Solve ``y_t = x_t + c_t · y_{t+1}`` with ``y_T = 0``, for all t at once.

    Pairs of steps compose to a step of the same form, so spans of 1, 2, 4, … are joined: log₂ T rounds of three
    operations each (Hillis & Steele 1986, "Data parallel algorithms") rather than T rounds.

    Args:
        x: (T, *batch), such as rewards.
        discount: c, of the same shape, such as γ where the episode goes on and 0 where it ends.

    Returns:
        y: (T, *batch).
    """
    total, span = x.clone(), 1
    while span < len(total):
        # Invariant: `total` sums the next `span` terms, and `discount` is the product of the next `span` factors.
        ahead = discount[:-1] * total[span:]
        discount = discount[:-span] * discount[span:]
        total[:-span].add_(ahead)
        span *= 2
    return total
