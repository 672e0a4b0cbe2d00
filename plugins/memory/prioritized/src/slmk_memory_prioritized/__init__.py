"""Prioritized experience replay: options and registration. It is in `slmk_memory_prioritized.prioritized`."""

from __future__ import annotations

from collections.abc import Iterable

from slmk import Component, Fraction, FractionSchedule, Positive, hookimpl
from slmk.config import Linear
from slmk_memory_replay import ReplayConfig

__all__ = ["PrioritizedConfig"]


class PrioritizedConfig(ReplayConfig):
    """Options of proportional prioritization, on top of those of a replay. Defaults: Schaul et al. (2016), table 3."""

    alpha: Fraction = 0.6
    """Exponent α of priorities: 0 for uniform sampling, 1 for sampling in proportion to errors."""
    beta: FractionSchedule = Linear(start=0.4, end=1.0)
    """Exponent β of importance weights: 0 for none, 1 to undo the bias that prioritization brings."""
    epsilon: Positive = 1e-6
    """Number added to errors, so that no transition is never drawn again. In units of the error."""


@hookimpl
def slmk_memories() -> Iterable[Component]:
    """Offer ``prioritized``."""
    target = "slmk_memory_prioritized.prioritized:Prioritized"
    return [Component("prioritized", PrioritizedConfig, target, "the latest transitions, by temporal-difference error")]
