"""Numbers in other units: standardised, or by all that came before; and means of what has weight."""

from __future__ import annotations

import torch
from torch import Tensor

from slmk.protocols import Normalizer

__all__ = ["scaled_anew", "standardised", "weighted_average", "weighted_mean"]


def weighted_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Σ w x over the number of weights that are not 0: what has weight 0 is not there, others correct a sampling bias.

    Args:
        x: (*batch,).
        weight: (*batch,), such as `slmk.Sample.weight`. Where all are 0 the mean is 0.
    """
    return (weight * x).sum() / (weight != 0).sum().clamp(min=1)


def weighted_average(x: Tensor, weight: Tensor) -> Tensor:
    """Σ w x / Σ w: for a quantity that is compared with a number in its own units, whatever the size of the weights.

    Args:
        x: (*batch,).
        weight: (*batch,), not negative. Where all are 0 the average is 0.
    """
    total = weight.sum()
    return (weight * x).sum() / torch.where(total > 0, total, 1.0)


def standardised(x: Tensor, *, correction: int = 1) -> Tensor:
    """x minus its mean, divided by its standard deviation, over all axes.

    Args:
        x: (*batch,).
        correction: of the variance: 1 for that of a sample, 0 for that of the numbers themselves.
    """
    return (x - x.mean()) / (x.std(correction=correction) + 1e-8)


@torch.no_grad()
def scaled_anew(x: Tensor, normalizer: Normalizer | None, *, standardise: bool = False) -> Tensor:
    """Divided by the spread of all that came before, `x` included; without a normalizer standardised, or as it is.

    Args:
        x: (*batch,), such as the advantages of a rollout.
        normalizer: keeps the statistics; changed in place. One takes the place of `standardise`.
        standardise: whether `x` is to be `standardised` where there is no normalizer.

    Returns:
        (*batch,).
    """
    if normalizer is None:
        return standardised(x) if standardise else x
    normalizer.update(x)
    return normalizer.scale(x)
