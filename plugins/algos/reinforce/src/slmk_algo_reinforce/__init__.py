"""REINFORCE: options and registration. The algorithm itself is in `slmk_algo_reinforce.reinforce`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from slmk import (
    AlgorithmConfig,
    Component,
    Fraction,
    Gaussian,
    NonNegative,
    NonNegativeInt,
    NonNegativeSchedule,
    PositiveInt,
    Schedule,
    hookimpl,
)

__all__ = ["ReinforceConfig"]


class ReinforceConfig(AlgorithmConfig):
    """Options of REINFORCE."""

    memory: ClassVar = "take"
    roles: ClassVar = ("actor",)
    normalizers: ClassVar = ("obs",)

    horizon: PositiveInt = 256
    """Vector steps between two updates (T). The steps of episodes that still run wait for a later one."""
    episode_limit: NonNegativeInt = 0
    """Steps of the longest episode: so long steps wait for their return. 0 for the environment's time limit."""
    lr: NonNegativeSchedule = 1e-3
    """Learning rate of Adam."""
    gamma: Fraction = 0.99
    """Discount per step."""
    normalize_return: bool = True
    """Standardise the returns of an update, whose mean is the baseline then. False for plain returns."""
    entropy: Schedule = 0.0
    """Weight of the entropy bonus."""
    max_grad_norm: NonNegative = 0.5
    """Gradients are scaled down to this norm; 0 for no clipping."""
    gaussian: Gaussian = "state_independent"
    """Continuous actions: a learned standard deviation, one that the network gives, that squashed into the bounds, or
    squashed with its logarithm clamped, as in SAC."""
    log_std_init: float = 0.0
    """Initial log standard deviation of continuous actions."""


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``reinforce``."""
    target = "slmk_algo_reinforce.reinforce:Reinforce"
    return [Component("reinforce", ReinforceConfig, target, "Monte-Carlo policy gradient on whole episodes")]
