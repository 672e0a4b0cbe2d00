"""The normalizer ``percentile``: division by the range in which most of the data lies."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slmk_normalizer_percentile import PercentileConfig

__all__ = ["Percentile"]


class Percentile(nn.Module):
    """Divides by S = max(floor, EMA(high percentile) − EMA(low percentile)), and never shifts.

    Hafner et al. (2023), arXiv:2301.04104, "Critic learning" and "Actor learning": returns are divided by their 5th to
    95th percentile range, where it is above 1. The averages are corrected for their start, so that the first update
    already gives the range of the first batch.
    """

    low: Tensor
    high: Tensor
    weight: Tensor
    divisor: Tensor

    def __init__(self, config: PercentileConfig, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._config, self._dims = config, len(shape)
        self.register_buffer("low", torch.zeros(shape))
        self.register_buffer("high", torch.zeros(shape))
        self.register_buffer("weight", torch.zeros(()))
        self.register_buffer("divisor", torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        """x / S; the same as `scale`."""
        return x / self.divisor

    def inverse(self, x: Tensor) -> Tensor:
        """x · S."""
        return x * self.divisor

    def scale(self, x: Tensor) -> Tensor:
        """x / S."""
        return x / self.divisor

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Move both ends by the percentiles of a batch ``(*batch, *shape)``."""
        config = self._config
        samples = x.flatten(0, x.dim() - self._dims - 1) if x.dim() > self._dims else x.unsqueeze(0)
        ordered = samples.float().sort(0).values
        self.weight.mul_(config.decay).add_(1 - config.decay)
        # Dividing by the sum of all weights so far corrects for the start at 0.
        step = (1 - config.decay) / self.weight
        self.low.lerp_(_percentile(ordered, config.low), step)
        self.high.lerp_(_percentile(ordered, config.high), step)
        self.divisor.copy_((self.high - self.low).clamp(min=config.floor))


def _percentile(ordered: Tensor, share: float) -> Tensor:
    """The percentile of sorted samples along axis 0, interpolated linearly. `torch.quantile` ends at 2²⁴ of them."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return torch.lerp(ordered[below], ordered[above], position - below)
