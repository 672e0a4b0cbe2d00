"""Comparing the speed of two functions in one process, on a machine that others use too."""

from __future__ import annotations

import gc
from collections.abc import Callable
from statistics import median
from time import perf_counter

__all__ = ["throughput"]

SAMPLE_SECONDS = 0.005
"""A function is called so often that one measurement takes at least this long."""


def throughput(a: Callable[[], object], b: Callable[[], object], rounds: int = 15) -> float:
    """How many times as fast as `b` is `a`: 2.0 if `b` takes twice as long.

    Both are timed in turn, in alternating order, and the median of the ratios counts, so that neither a slow spell of
    the machine nor its absolute speed matters. Both are called a few times beforehand, to warm up.

    Args:
        a: what is to be fast.
        b: what it is compared with.
        rounds: pairs of measurements.
    """
    calls = {each: _calls(each) for each in (a, b)}
    ratios = []
    enabled = gc.isenabled()
    gc.disable()
    try:
        for index in range(rounds):
            order = (a, b) if index % 2 else (b, a)
            seconds = {each: _seconds(each, calls[each]) for each in order}
            ratios.append(seconds[b] / seconds[a])
    finally:
        if enabled:
            gc.enable()
    return median(ratios)


def _calls(function: Callable[[], object]) -> int:
    """How often to call a function for one measurement; the first call does not count."""
    function()
    calls = 1
    while _seconds(function, calls) * calls < SAMPLE_SECONDS:
        calls *= 2
    return calls


def _seconds(function: Callable[[], object], calls: int) -> float:
    """Mean wall time of one call."""
    start = perf_counter()
    for _ in range(calls):
        function()
    return (perf_counter() - start) / calls
