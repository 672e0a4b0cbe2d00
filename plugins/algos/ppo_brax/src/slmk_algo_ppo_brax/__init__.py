"""PPO as in Brax: options and registration. The algorithm itself is in `slmk_algo_ppo_brax.ppo_brax`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from slmk import (
    AlgorithmConfig,
    Component,
    Fraction,
    NonNegative,
    NonNegativeSchedule,
    Positive,
    PositiveInt,
    Schedule,
    hookimpl,
)

__all__ = ["PPOBraxConfig"]


class PPOBraxConfig(AlgorithmConfig):
    """Options of Brax's PPO. The defaults are those of MuJoCo Playground for its DM Control Suite."""

    memory: ClassVar = "take"
    roles: ClassVar = ("actor", "critic")
    normalizers: ClassVar = ("obs",)
    windowed: ClassVar = False
    horizon: ClassVar = property(lambda config: config.unroll_length * config.unrolls)
    """Vector steps per rollout (T); no option here."""

    unroll_length: Annotated[int, Field(gt=1)] = 30
    """Vector steps of each segment (L), over which advantages are estimated. Recurrent networks unroll over it."""
    unrolls: PositiveInt = 16
    """Consecutive segments of each environment in a rollout; Brax has batch_size × num_minibatches / num_envs."""
    epochs: PositiveInt = 16
    """Passes over each rollout; Brax's num_updates_per_batch."""
    minibatches: PositiveInt = 32
    """Equal parts into which each pass splits the segments."""
    lr: NonNegativeSchedule = 1e-3
    """Learning rate of Adam."""
    gamma: Fraction = 0.995
    """Discount per step."""
    lam: Fraction = 0.95
    """λ of the returns that the critic is trained to."""
    clip: NonNegativeSchedule = 0.3
    """Clip range ε of the probability ratio."""
    value_coefficient: Positive = 0.5
    """Weight of half the mean squared error of the critic."""
    entropy: Schedule = 1e-2
    """Weight of the entropy bonus."""
    reward_scale: Positive = 10.0
    """Factor on rewards in the loss; returns are reported without it."""
    max_grad_norm: NonNegative = 0.0
    """Gradients are scaled down to this norm; 0 for no clipping."""
    normalize_advantage: bool = True
    """Standardise advantages in each minibatch."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """The segments must split into equal minibatches."""
        if "env" not in spec:
            return
        segments = self.unrolls * spec["env"].num_envs
        if segments % self.minibatches:
            yield "minibatches", f"{segments} segments (unrolls × num_envs) do not split into {self.minibatches} parts"


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``ppo_brax``."""
    summary = "PPO as in Brax, for thousands of environments: advantages anew in every minibatch"
    return [Component("ppo_brax", PPOBraxConfig, "slmk_algo_ppo_brax.ppo_brax:PPOBrax", summary)]
