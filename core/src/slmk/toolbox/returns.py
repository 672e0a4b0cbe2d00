"""Discounted sums along time."""

from __future__ import annotations

from torch import Tensor

__all__ = ["discounted"]


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
