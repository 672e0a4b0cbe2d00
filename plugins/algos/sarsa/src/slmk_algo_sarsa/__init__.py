"""SARSA: options and registration. The algorithm itself is in `slmk_algo_sarsa.sarsa`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from slmk import (
    AlgorithmConfig,
    Component,
    Exploration,
    Fraction,
    FractionSchedule,
    Linear,
    NonNegative,
    NonNegativeSchedule,
    PositiveInt,
    PositiveSchedule,
    hookimpl,
)

__all__ = ["SARSAConfig"]


class SARSAConfig(AlgorithmConfig):
    """Options of SARSA. The literature has no defaults for neural networks; these are for small tasks."""

    memory: ClassVar = "take"
    roles: ClassVar = ("q",)
    normalizers: ClassVar = ("obs", "reward")

    horizon: PositiveInt = 8
    """Vector steps per rollout (T); an update uses all horizon × num_envs transitions at once."""
    lam: Fraction = 0.0
    """λ of the returns that values are trained to: 0 for one step, 1 for all steps left in the rollout."""
    expected: bool = False
    """Bootstrap from the policy's expectation everywhere, not only where the rollout lacks the action taken next."""
    exploration: Exploration = "epsilon"
    """Act greedily but for a share `epsilon` of random actions, or each with probability ∝ exp(Q / `temperature`)."""
    epsilon: FractionSchedule = Linear(start=1.0, end=0.05, until=0.5)
    """Share of random actions."""
    temperature: PositiveSchedule = 1.0
    """Temperature, in units of (scaled) return."""
    lr: NonNegativeSchedule = 1e-3
    """Learning rate of Adam."""
    gamma: Fraction = 0.99
    """Discount per step."""
    loss: Literal["huber", "squared"] = "huber"
    """Half the squared error; ``huber`` clips its gradient to ±1."""
    max_grad_norm: NonNegative = 10.0
    """Gradients are scaled down to this norm; 0 for no clipping."""


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``sarsa``."""
    return [Component("sarsa", SARSAConfig, "slmk_algo_sarsa.sarsa:SARSA", "on-policy action values, SARSA(λ)")]
