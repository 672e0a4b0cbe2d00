"""CrossQ: options and registration. The algorithm itself is in `slmk_algo_crossq.crossq`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field

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

__all__ = ["CrossQConfig"]


class CrossQConfig(OffPolicyConfig):
    """Options of CrossQ. The defaults are those of Bhatt et al. (2024), arXiv:1902.05605, and of their code.

    What stands in for a target network is the networks' own option: both need batch normalisation, as in
    ``norm = "batch_renorm"``, ``norm_position = "after"`` and ``norm_input = true`` of `mlp`.
    """

    roles: ClassVar = ("actor", "critic")
    normalizers: ClassVar = ("obs",)

    learning_starts: NonNegativeInt = 5_000
    """Environment steps with uniformly random actions before learning starts."""
    utd_ratio: Positive = 1.0
    """Gradient steps of the critics per environment transition, whatever `env.num_envs` and `horizon` are."""
    policy_delay: PositiveInt = 3
    """Gradient steps of the critics for each of actor and temperature, which share its batch."""
    batch_size: PositiveInt = 256
    """Transitions, or sequences, in each gradient step; critics see twice as many observations at once."""
    lr: NonNegativeSchedule = 1e-3
    """Learning rate of actor and critics."""
    adam_beta1: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """β₁ of Adam for actor and critics."""
    gamma: Fraction = 0.99
    """Discount per step."""
    n_step: PositiveInt = 1
    """Steps of reward before the critics' value takes over."""
    critics: PositiveInt = 2
    """Critics, of whose values the smallest counts."""
    temperature: Literal["auto"] | NonNegative = "auto"
    """What a nat of entropy is worth (α), in units of reward; ``auto`` learns it, so that `target_entropy` is kept."""
    temperature_init: Positive = 1.0
    """α at the start, where it is learned."""
    temperature_lr: Positive = 1e-3
    """Learning rate of log α."""
    target_entropy: Literal["auto"] | float = "auto"
    """Mean entropy to keep, in nats; ``auto`` for −1 per dimension of continuous actions, 0.3 log n of n discrete."""


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``crossq``."""
    summary = "soft actor-critic with batch normalisation in place of target networks"
    return [Component("crossq", CrossQConfig, "slmk_algo_crossq.crossq:CrossQ", summary)]
