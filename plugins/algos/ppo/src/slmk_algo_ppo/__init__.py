"""Proximal policy optimisation: options and registration. The algorithm itself is in `slmk_algo_ppo.ppo`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Discriminator, Tag

from slmk import (
    AlgorithmConfig,
    Component,
    Config,
    Fraction,
    Gaussian,
    NonNegative,
    NonNegativeSchedule,
    Positive,
    PositiveInt,
    Schedule,
    hookimpl,
)

__all__ = ["ByKL", "PPOConfig"]


class ByKL(Config):
    """A learning rate that follows the KL divergence of each minibatch from the policy that acted, as in RSL-RL."""

    start: Positive = 1e-3
    """The first rate."""
    kl: Positive
    """The wanted divergence in nats: above twice this the rate is divided by 1.5, below half of it multiplied."""
    least: Positive = 1e-5
    """The rate never falls below this."""
    most: Positive = 1e-2
    """The rate never rises above this."""


def _kind(value: Any) -> str:
    """What sort of learning rate is meant, so that mistakes in one are told as such."""
    return "ByKL" if isinstance(value, ByKL) or (isinstance(value, Mapping) and "kl" in value) else "Schedule"


Rate = Annotated[Annotated[NonNegativeSchedule, Tag("Schedule")] | Annotated[ByKL, Tag("ByKL")], Discriminator(_kind)]
"""A schedule over the run, or a rate that follows the divergence."""


class PPOConfig(AlgorithmConfig):
    """Options of PPO. The defaults are those of the MuJoCo experiments of Schulman et al. (2017), table 3."""

    memory: ClassVar = "take"
    roles: ClassVar = ("actor", "critic")
    normalizers: ClassVar = ("obs", "reward", "advantage", "value")

    horizon: PositiveInt = 2048
    """Vector steps per rollout (T); an update uses horizon × num_envs transitions."""
    epochs: PositiveInt = 10
    """Passes over each rollout."""
    minibatches: PositiveInt = 32
    """Equal parts into which each pass splits the rollout, shuffled over time and environments."""
    lr: Rate = 3e-4
    """Learning rate of Adam; ``{ kl = 0.01 }`` for one that follows the KL divergence."""
    gamma: Fraction = 0.99
    """Discount per step."""
    lam: Fraction = 0.95
    """λ of generalised advantage estimation: 0 for one-step, 1 for Monte-Carlo advantages."""
    clip: NonNegativeSchedule = 0.2
    """Clip range ε of the probability ratio."""
    value_clip: NonNegative = 0.0
    """Clip range of the value's change, in units of the critic's output; 0 for no clipping."""
    value_coefficient: Positive = 0.5
    """Weight of the value loss."""
    entropy: Schedule = 0.0
    """Weight of the entropy bonus."""
    max_grad_norm: NonNegative = 0.5
    """Gradients are scaled down to this norm; 0 for no clipping."""
    adam_eps: Positive = 1e-5
    """ε of Adam."""
    target_kl: NonNegative = 0.0
    """End the passes over a rollout once the mean KL divergence of a pass exceeds this; 0 for never."""
    normalize_advantage: bool = True
    """Standardise advantages in each minibatch. A normalizer for ``advantage`` takes its place."""
    gaussian: Gaussian = "state_independent"
    """Continuous actions: a learned standard deviation, one that the network gives, that squashed into the bounds, or
    squashed with its logarithm clamped, as in SAC."""
    log_std_init: float = 0.0
    """Initial log standard deviation of continuous actions."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """The rollout must split into equal minibatches, of two samples at least; a rate starts within its limits."""
        if isinstance(self.lr, ByKL) and not self.lr.least <= self.lr.start <= self.lr.most:
            yield "lr.start", f"the rate has to start between least ({self.lr.least:g}) and most ({self.lr.most:g})"
        if "env" not in spec:
            return
        size = self.horizon * spec["env"].num_envs
        if size % self.minibatches:
            yield "minibatches", f"{size} transitions (horizon × num_envs) do not split into {self.minibatches} parts"
        elif size // self.minibatches < 2:
            yield "minibatches", f"{size} transitions leave fewer than two for each of {self.minibatches} minibatches"


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``ppo``."""
    return [Component("ppo", PPOConfig, "slmk_algo_ppo.ppo:PPO", "proximal policy optimisation (clipped surrogate)")]
