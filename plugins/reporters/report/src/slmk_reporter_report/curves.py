"""Curves of metrics over environment steps: one per seed, and what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slmk_reporter_report.runs import Row

__all__ = ["Curve", "Spread", "curve", "interval_of_mean", "range_of_seeds", "speed", "thinned"]

Array = npt.NDArray[np.float64]
POINTS = 240
"""Points of a drawn curve at most: more than a screen resolves at these sizes, and the page stays small."""
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric of one seed."""

    x: Array
    """(K,) env steps, rising."""
    y: Array
    """(K,) finite values."""
    lost: bool = False
    """Whether the last value of all was not finite, and so is not among these."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over seeds at the same env steps (K,): the mean, and between which values it lies."""

    x: Array
    mean: Array
    low: Array
    high: Array


def curve(rows: Sequence[Row], key: str) -> Curve:
    """The metric `key` where a row has a finite value for it."""
    pairs = [(row["env_steps"], row[key]) for row in rows if key in row]
    table = np.array(pairs, dtype=float).reshape(-1, 2)  # Null becomes NaN.
    known = np.isfinite(table[:, 1])
    return Curve(*table[known].T, lost=not known[-1:].all())


def speed(rows: Sequence[Row]) -> Curve:
    """Environment steps per second between successive training rows, evaluations and checkpoints included."""
    elapsed = curve([row for row in rows if row["kind"] == "train"], "time/elapsed_s")
    steps, seconds = np.diff(elapsed.x, prepend=0.0), np.diff(elapsed.y, prepend=0.0)
    known = (steps > 0) & (seconds > 0)
    return Curve(elapsed.x[known], steps[known] / seconds[known])


def thinned(one: Curve, points: int = POINTS) -> Curve:
    """At most `points` of a curve's points, evenly spaced in number, the first and the last among them."""
    kept = _evenly(len(one.x), points)
    return Curve(one.x[kept], one.y[kept])


def interval_of_mean(curves: Sequence[Curve]) -> Spread | None:
    """The mean over seeds with its 95 % percentile bootstrap interval at each step (seeds redrawn, 2000 times)."""
    x, values = _aligned(curves)
    if not len(x):
        return None
    seeds = len(values)
    draws = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    low, high = np.quantile(draws @ values, [0.025, 0.975], axis=0)
    return Spread(x, values.mean(axis=0), low, high)


def range_of_seeds(curves: Sequence[Curve]) -> Spread | None:
    """The mean over seeds between the lowest and the highest seed."""
    x, values = _aligned(curves)
    return Spread(x, values.mean(axis=0), values.min(axis=0), values.max(axis=0)) if len(x) else None


def _aligned(curves: Sequence[Curve]) -> tuple[Array, Array]:
    """Values (seeds, K) at K steps that every seed has passed, in a straight line between its own points.

    Beyond the end of the shortest curve the mean would be over other seeds than before it, so it stops there.
    """
    known = [one for one in curves if len(one.x)]
    if not known:
        return np.empty(0), np.empty((0, 0))
    first, last = max(one.x[0] for one in known), min(one.x[-1] for one in known)
    steps = np.unique(np.concatenate([one.x for one in known]))
    steps = steps[(steps >= first) & (steps <= last)]
    steps = steps[_evenly(len(steps), POINTS)]
    return steps, np.array([np.interp(steps, one.x, one.y) for one in known])


def _evenly(count: int, points: int) -> npt.NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, points)).round().astype(np.intp))
