"""From values to places on the page, and the values that an axis names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Scale", "fit"]

Array = npt.NDArray[np.float64]
DECADES = 3
"""Positive data that spans more powers of ten than this is drawn on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight (or logarithmic) map from ``[low, high]`` to ``[start, end]`` on the page."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, values: npt.ArrayLike) -> Array:
        """Places of values, of any shape."""
        low, high = self._linear(self.low), self._linear(self.high)
        share = (self._linear(values) - low) / (high - low)
        return np.asarray(self.start + share * (self.end - self.start))

    def ticks(self, count: int) -> list[float]:
        """About `count` round values inside: multiples of 1, 2 or 5 times a power of ten."""
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1, 1 + (last - first) // count)]
        step = _round_step((self.high - self.low) / count)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]

    def _linear(self, values: npt.ArrayLike) -> Array:
        array = np.asarray(values, dtype=float)
        return np.log10(array) if self.log else array


def fit(data: Sequence[Array], start: float, end: float, *, margin: float = 0.05) -> Scale:
    """A vertical scale that shows all data, with a margin at both ends (a share of the height).

    Args:
        data: arrays of values; empty ones do not count.
    """
    values = np.concatenate([np.empty(0), *data])
    if not len(values):
        return Scale(0, 1, start, end)
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low > 10**DECADES:
        factor = (high / low) ** margin
        return Scale(low / factor, high * factor, start, end, log=True)
    pad = margin * (high - low) or 0.1 * abs(high) or 1.0
    return Scale(low - pad, high + pad, start, end)


def _round_step(least: float) -> float:
    """The smallest step of 1, 2, 5 times a power of ten that is not below `least`, but for rounding."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
