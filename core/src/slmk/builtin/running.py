"""The normalizer ``running``: mean and variance of all data seen so far."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slmk.builtin import RunningConfig

__all__ = ["Running"]


class Running(nn.Module):
    """Standardises by the mean and the variance of everything that `update` has seen.

    Statistics are float64, so that they stay exact over billions of samples; what `forward` needs of them is kept in
    float32 beside them, so that normalising costs three operations. All of it is buffers, changed in place by `update`
    alone. Before the first update the mean counts as 0 and the variance as 1.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor
    shift: Tensor
    factor: Tensor

    def __init__(self, config: RunningConfig, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._clip, self._epsilon, self._dims = config.clip, config.epsilon, len(shape)
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("variance", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(shape))
        self.register_buffer("factor", torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        """(x − mean) / √(variance + ε), clipped to ±clip; (*batch, *shape)."""
        return ((x - self.shift) * self.factor).clamp(-self._clip, self._clip)

    def inverse(self, x: Tensor) -> Tensor:
        """x · √(variance + ε) + mean, which undoes `forward` where it did not clip."""
        return x / self.factor + self.shift

    def scale(self, x: Tensor) -> Tensor:
        """x / √(variance + ε), neither shifted nor clipped."""
        return x * self.factor

    @torch.no_grad()
    def update(self, x: Tensor) -> None:
        """Count the samples ``(*batch, *shape)`` in.

        Joins two sets' means and variances: Chan, Golub & LeVeque (1979), "Updating formulae and a pairwise
        algorithm for computing sample variances", eq. 2.1.
        """
        samples = x.flatten(0, x.dim() - self._dims - 1) if x.dim() > self._dims else x.unsqueeze(0)
        variance, mean = torch.var_mean(samples.double(), dim=0, correction=0)
        share = len(samples) / (self.count + len(samples))
        difference = mean - self.mean
        # The first batch has share 1, so that the initial variance of 1 drops out.
        self.variance.lerp_(variance, share).add_(share * (1 - share) * difference.square())
        self.mean.add_(share * difference)
        self.count.add_(len(samples))
        self.shift.copy_(self.mean)
        self.factor.copy_((self.variance + self._epsilon).rsqrt())
