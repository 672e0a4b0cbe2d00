"""Scores over seeds: means, interquartile means, bootstrap intervals (Agarwal et al. 2021, arXiv:2108.13264)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["bootstrap_interval", "describe", "finite", "iqm", "probability_of_improvement"]

Scores = Sequence[float] | npt.NDArray[np.float64]
REPETITIONS = 2000
"""Bootstrap resamples."""


def iqm(scores: npt.ArrayLike, axis: int | None = None) -> Any:
    """Interquartile mean: the mean without the lowest and the highest quarter (each rounded down to whole scores).

    The same as ``scipy.stats.trim_mean(scores, 0.25, axis)``.

    Args:
        scores: of any shape.
        axis: the one to average over; None for all elements alike.
    """
    table = np.asarray(scores, dtype=float)
    ordered = np.sort(table.ravel() if axis is None else np.moveaxis(table, axis, -1), axis=-1)
    count = ordered.shape[-1]
    return ordered[..., count // 4 : count - count // 4].mean(-1)


def bootstrap_interval(
    scores: npt.ArrayLike, statistic: Callable[..., Any] = iqm, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a statistic by the stratified bootstrap: seeds are redrawn within each task.

    Args:
        scores: (seeds, tasks), or (seeds,) for one task.
        statistic: called as ``statistic(values, axis=1)`` with one resample per row, such as `iqm` or `numpy.mean`.
        level: share of resamples inside the interval.

    Returns:
        Lower and upper end; the same for the same scores (the resampling has a seed of its own).
    """
    table = np.asarray(scores, dtype=float)
    table = table[:, None] if table.ndim == 1 else table
    rng = np.random.default_rng(0)
    seeds, tasks = table.shape
    rows = rng.integers(seeds, size=(REPETITIONS, seeds, tasks))
    values = statistic(table[rows, np.arange(tasks)].reshape(REPETITIONS, -1), axis=1)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def probability_of_improvement(scores: Scores, others: Scores) -> float:
    """How often a score beats one of the others, a draw counting half (the Mann-Whitney statistic, scaled).

    Args:
        scores: (seeds,) of one task; the probability over several tasks is the mean of theirs.
        others: (seeds,), not necessarily as many.
    """
    difference = np.subtract.outer(np.asarray(scores, dtype=float), np.asarray(others, dtype=float))
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def finite(value: float | None) -> float | None:
    """The value, or None where there is none or it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def describe(values: Sequence[float | None]) -> dict[str, Any]:
    """Values over seeds with mean, sample standard deviation, IQM and its 95 % interval.

    Values that are None or not finite are left out. One value alone has neither deviation nor interval: they are None
    then, and all are where no value remains.
    """
    known = [value for value in map(finite, values) if value is not None]
    if not known:
        return {"values": list(values), "mean": None, "std": None, "iqm": None, "ci95": None}
    return {
        "values": list(values),
        "mean": float(np.mean(known)),
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "iqm": float(iqm(known)),
        "ci95": list(bootstrap_interval(known)) if len(known) > 1 else None,
    }
