"""Self-imitation learning: options and registration. The algorithm itself is in `slmk_algo_sil.sil`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from slmk import (
    AlgorithmConfig,
    Component,
    Fraction,
    Gaussian,
    NonNegative,
    NonNegativeInt,
    NonNegativeSchedule,
    Positive,
    PositiveInt,
    Schedule,
    hookimpl,
)

__all__ = ["SILConfig"]


class SILConfig(AlgorithmConfig):
    """Options of SIL. The defaults are those of the authors' Atari runs of A2C+SIL.

    See https://github.com/junhyukoh/self-imitation-learning, ``run_atari_sil.py``.
    """

    memory: ClassVar = "take"
    roles: ClassVar = ("actor", "critic")
    normalizers: ClassVar = ("obs", "advantage", "value")

    objective: Literal["a2c", "ppo"] = "a2c"
    """What is maximised on each rollout: the plain policy gradient, or the clipped surrogate."""
    horizon: PositiveInt = 5
    """Vector steps per rollout (T)."""
    epochs: PositiveInt = 1
    """Passes over each rollout; 1 for ``a2c``."""
    minibatches: PositiveInt = 1
    """Equal parts into which each pass splits the rollout, shuffled; 1 for ``a2c``."""
    lr: NonNegativeSchedule = 7e-4
    """Learning rate of both kinds of updates."""
    gamma: Fraction = 0.99
    """Discount per step."""
    lam: Fraction = 1.0
    """λ of generalised advantage estimation: 1 for returns over all steps left in the rollout."""
    clip: NonNegativeSchedule = 0.2
    """Clip range ε of the probability ratio, for ``ppo``."""
    value_coefficient: Positive = 0.5
    """Weight of the value loss on rollouts."""
    entropy: Schedule = 0.01
    """Weight of the entropy bonus on rollouts."""
    max_grad_norm: NonNegative = 0.5
    """Gradients are scaled down to this norm; 0 for no clipping."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """β₁ of Adam; with 0 it has no momentum and is RMSprop, as in the paper's A2C."""
    adam_beta2: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """β₂ of Adam: decay of the average of squared gradients."""
    adam_eps: Positive = 1e-5
    """ε of Adam."""
    normalize_advantage: bool = False
    """Standardise advantages over each rollout. A normalizer for ``advantage`` takes its place."""
    gaussian: Gaussian = "state_independent"
    """Continuous actions: a learned standard deviation, one that the network gives, that squashed into the bounds, or
    squashed with its logarithm clamped, as in SAC."""
    log_std_init: float = 0.0
    """Initial log standard deviation of continuous actions."""

    imitations: PositiveInt = 4
    """Updates on past steps after each rollout (M)."""
    imitation_batch: PositiveInt = 512
    """Past steps drawn for each of these."""
    imitation_weight: NonNegativeSchedule = 1.0
    """Weight of the loss of these updates."""
    imitation_value_coefficient: NonNegative = 0.01
    """Weight of the value loss within it (β of the paper)."""
    capacity: PositiveInt = 100_000
    """Past steps kept, of all environments together."""
    priority_alpha: Fraction = 0.6
    """How strongly steps with a larger gain are preferred: 0 for not at all (α of prioritized replay)."""
    priority_beta: Fraction = 0.1
    """How much of that preference is taken back by importance weights: 1 for all (β of prioritized replay)."""
    episode_limit: NonNegativeInt = 0
    """Steps of the longest episode, whose returns have to be found. 0 for the environment's time limit."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """A2C takes a rollout whole and once; PPO must be able to split it."""
        if self.objective == "a2c":
            for name in ("epochs", "minibatches"):
                if getattr(self, name) > 1:
                    yield name, "the objective a2c is right at the acting policy alone: one pass over the whole rollout"
        if "env" not in spec:
            return
        size = self.horizon * spec["env"].num_envs
        if size % self.minibatches:
            yield "minibatches", f"the rollout does not split into {self.minibatches} parts"
        if self.capacity < size:
            yield "capacity", f"{self.capacity} steps do not hold one rollout"
        if self.normalize_advantage and size < 2:
            yield "normalize_advantage", "a rollout of a single transition (horizon × num_envs) has no deviation"


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``sil``."""
    return [Component("sil", SILConfig, "slmk_algo_sil.sil:SIL", "self-imitation learning on top of A2C or PPO")]
