"""Soft actor-critic: options and registration. The algorithm itself is in `slmk_algo_sac.sac`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from slmk import (
    Component,
    Fraction,
    NonNegative,
    NonNegativeInt,
    NonNegativeSchedule,
    OffPolicyConfig,
    Positive,
    PositiveInt,
    hookimpl,
)

__all__ = ["SACConfig"]


class SACConfig(OffPolicyConfig):
    """Options of SAC. The defaults are those of Haarnoja et al. (2018), arXiv:1812.05905, table 1."""

    roles: ClassVar = ("actor", "critic")
    normalizers: ClassVar = ("obs",)

    learning_starts: NonNegativeInt = 10_000
    """Environment steps with uniformly random actions before learning starts."""
    lr: NonNegativeSchedule = 3e-4
    """Learning rate of actor and critics."""
    gamma: Fraction = 0.99
    """Discount per step."""
    n_step: PositiveInt = 1
    """Steps of reward before the critics' value takes over."""
    tau: Fraction = 0.005
    """Share by which the target critics follow the critics in each gradient step."""
    critics: PositiveInt = 2
    """Critics, of whose target values the smallest counts."""
    temperature: Literal["auto"] | NonNegative = "auto"
    """What a nat of entropy is worth (α), in units of reward; ``auto`` learns it, so that `target_entropy` is kept."""
    temperature_init: Positive = 1.0
    """α at the start, where it is learned."""
    temperature_lr: Positive = 3e-4
    """Learning rate of log α."""
    target_entropy: Literal["auto"] | float = "auto"
    """Mean entropy to keep, in nats; ``auto`` for −1 per dimension of continuous actions, 0.3 log n of n discrete."""


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``sac``."""
    return [Component("sac", SACConfig, "slmk_algo_sac.sac:SAC", "soft actor-critic, continuous or discrete")]
