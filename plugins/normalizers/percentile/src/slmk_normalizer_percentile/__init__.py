"""Scaling by a moving percentile range: options and registration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field

from slmk import Component, Fraction, NormalizerConfig, Positive, hookimpl

__all__ = ["PercentileConfig"]


class PercentileConfig(NormalizerConfig):
    """Options of ``percentile``. The defaults are DreamerV3's for returns."""

    low: Fraction = 0.05
    """Lower end of the range, as a share of the data."""
    high: Fraction = 0.95
    """Upper end of the range, as a share of the data."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the moving averages of both ends, per update."""
    floor: Positive = 1.0
    """The least divisor, so that small returns (and their noise) are not blown up."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """The range must have a width."""
        if self.low >= self.high:
            yield "low", f"the lower end {self.low} of the range is not below the upper end {self.high}"


@hookimpl
def slmk_normalizers() -> Iterable[Component]:
    """Offer ``percentile``."""
    target = "slmk_normalizer_percentile.percentile:Percentile"
    return [Component("percentile", PercentileConfig, target, "divide by a moving percentile range")]
