"""Advantage actor-critic: options and registration. The algorithm itself is in `slmk_algo_a2c.a2c`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from slmk import (
    AlgorithmConfig,
    Component,
    Fraction,
    Gaussian,
    NonNegative,
    NonNegativeSchedule,
    Positive,
    PositiveInt,
    Schedule,
    hookimpl,
)

__all__ = ["A2CConfig"]


class A2CConfig(AlgorithmConfig):
    """Options of A2C. The defaults are those of Mnih et al. (2016), section 5.1, where the paper states them."""

    memory: ClassVar = "take"
    roles: ClassVar = ("actor", "critic")
    normalizers: ClassVar = ("obs", "reward", "advantage", "value")

    horizon: PositiveInt = 5
    """Vector steps per rollout (T); an update uses all horizon × num_envs transitions at once."""
    lr: NonNegativeSchedule = 7e-4
    """Learning rate."""
    gamma: Fraction = 0.99
    """Discount per step."""
    lam: Fraction = 1.0
    """λ of generalised advantage estimation: 1 for returns over all steps left in the rollout, as in the paper."""
    value_coefficient: Positive = 0.5
    """Weight of the value loss."""
    entropy: Schedule = 0.01
    """Weight of the entropy bonus (β)."""
    max_grad_norm: NonNegative = 0.5
    """Gradients are scaled down to this norm; 0 for no clipping."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """β₁ of Adam; with 0 it has no momentum and is RMSprop, as in the paper."""
    adam_beta2: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """β₂ of Adam: decay of the average of squared gradients."""
    adam_eps: Positive = 1e-5
    """ε of Adam."""
    normalize_advantage: bool = False
    """Standardise advantages over the rollout. A normalizer for ``advantage`` takes its place."""
    gaussian: Gaussian = "state_independent"
    """Continuous actions: a learned standard deviation, one that the network gives, that squashed into the bounds, or
    squashed with its logarithm clamped, as in SAC."""
    log_std_init: float = 0.0
    """Initial log standard deviation of continuous actions."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """A deviation of advantages needs two of them."""
        if self.normalize_advantage and "env" in spec and self.horizon * spec["env"].num_envs < 2:
            yield "normalize_advantage", "a rollout of a single transition (horizon × num_envs) has no deviation"


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``a2c``."""
    return [Component("a2c", A2CConfig, "slmk_algo_a2c.a2c:A2C", "advantage actor-critic, one update per rollout")]
