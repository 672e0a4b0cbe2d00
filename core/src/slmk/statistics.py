"""Scores over seeds: means, interquartile means, bootstrap intervals (Agarwal et al. 2021, arXiv:2108.13264)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["bootstrap_interval", "describe", "iqm", "probability_of_improvement"]

Scores = Sequence[float] | npt.NDArray[np.float64]
REPETITIONS = 2000
"""Bootstrap resamples."""


def iqm(scores: Scores) -> float:
    """Interquartile mean: the mean without the lowest and the highest quarter (each rounded down to whole scores).

    Args:
        scores: any shape; all elements count alike.
    """
    ordered = np.sort(np.asarray(scores, dtype=float).ravel())
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def bootstrap_interval(
    scores: npt.ArrayLike, statistic: Callable[[npt.NDArray[np.float64]], float] = iqm, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a statistic by the stratified bootstrap: seeds are redrawn within each task.

    Args:
        scores: (seeds, tasks), or (seeds,) for one task.
        statistic: of an array of the same shape.
        level: share of resamples inside the interval.

    Returns:
        Lower and upper end; the same for the same scores (the resampling has a seed of its own).
    """
    table = np.asarray(scores, dtype=float)
    table = table[:, None] if table.ndim == 1 else table
    rng = np.random.default_rng(0)
    seeds, tasks = table.shape
    rows = rng.integers(seeds, size=(REPETITIONS, seeds, tasks))
    values = [statistic(table[row, np.arange(tasks)]) for row in rows]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def probability_of_improvement(scores: Scores, others: Scores) -> float:
    """How often a score beats one of the others, a draw counting half (the Mann-Whitney statistic, scaled)."""
    difference = np.subtract.outer(np.asarray(scores, dtype=float), np.asarray(others, dtype=float))
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def describe(values: Sequence[float | None]) -> dict[str, Any]:
    """Values over seeds with mean, standard deviation (sample), IQM and its 95 % interval; None where there are none."""
    known = [value for value in values if value is not None]
    if not known:
        return {"values": list(values), "mean": None, "std": None, "iqm": None, "ci95": None}
    return {
        "values": list(values),
        "mean": float(np.mean(known)),
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else 0.0,
        "iqm": iqm(known),
        "ci95": list(bootstrap_interval(known)),
    }
