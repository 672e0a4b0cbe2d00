"""The random policy: options and registration. The algorithm itself is in `slmk_algo_random.uniform`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from slmk import AlgorithmConfig, Component, PositiveInt, hookimpl

__all__ = ["RandomConfig"]


class RandomConfig(AlgorithmConfig):
    """Options of ``random``."""

    memory: ClassVar = "none"
    deterministic_policy: ClassVar = False

    horizon: PositiveInt = 128
    """Vector steps per iteration; nothing is learned at its end, but metrics are reported."""


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``random``."""
    return [Component("random", RandomConfig, "slmk_algo_random.uniform:Uniform", "random valid actions: the baseline")]
