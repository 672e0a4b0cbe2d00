"""Deep Q-learning: options and registration. The algorithm itself is in `slmk_algo_dqn.dqn`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

from slmk import (
    Component,
    Exploration,
    Fraction,
    FractionSchedule,
    Linear,
    NonNegative,
    NonNegativeInt,
    NonNegativeSchedule,
    OffPolicyConfig,
    Positive,
    PositiveInt,
    PositiveSchedule,
    hookimpl,
)

__all__ = ["DQNConfig"]


class DQNConfig(OffPolicyConfig):
    """Options of DQN. The defaults are for small tasks; those of the papers on Atari are in the README."""

    roles: ClassVar = ("q",)
    normalizers: ClassVar = ("obs",)

    double: bool = True
    """Choose the next action by the trained network and value it by the target network, which otherwise does both."""
    dueling: bool = False
    """Estimate the state's value and the actions' advantages over it."""
    n_step: PositiveInt = 1
    """Rewards summed up before the value of what follows; fewer where the episode ends."""
    exploration: Exploration = "epsilon"
    """Act greedily but for a share `epsilon` of random actions, or each with probability ∝ exp(Q / `temperature`)."""
    epsilon: FractionSchedule = Linear(start=1.0, end=0.05, until=0.16)
    """Share of random actions."""
    temperature: PositiveSchedule = 1.0
    """Temperature, in units of return."""
    lr: NonNegativeSchedule = 1e-4
    """Learning rate of Adam."""
    gamma: Fraction = 0.99
    """Discount per step."""
    batch_size: PositiveInt = 32
    """Transitions, or sequences for recurrent networks, of each gradient step (B)."""
    learning_starts: NonNegativeInt = 1000
    """Environment steps with random actions before learning begins."""
    horizon: PositiveInt = 4
    """Vector steps between two calls of learn (T)."""
    utd_ratio: Positive = 0.25
    """Gradient steps per transition, for any `env.num_envs`. Below 1 / (horizon × num_envs) some calls make none."""
    target_every: NonNegativeInt = 10_000
    """Environment steps between two copies to the target network; 0 for one that follows by `tau`."""
    tau: Fraction = 0.0
    """Share by which the target network follows in each gradient step; 0 for one that is copied by `target_every`."""
    loss: Literal["huber", "squared"] = "huber"
    """Half the squared error; ``huber`` clips its gradient to ±1."""
    max_grad_norm: NonNegative = 10.0
    """Gradients are scaled down to this norm; 0 for no clipping."""
    adam_eps: Positive = 1e-8
    """ε of Adam."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """The target network follows in one of two ways."""
        yield from super().problems(spec)
        if (self.tau > 0) == (self.target_every > 0):
            yield "tau", "the target network follows by tau or by target_every: set one of them, and the other to 0"


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``dqn``."""
    return [Component("dqn", DQNConfig, "slmk_algo_dqn.dqn:DQN", "deep Q-learning: double, dueling, n-step")]
