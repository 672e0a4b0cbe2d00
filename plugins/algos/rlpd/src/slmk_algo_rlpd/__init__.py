"""RLPD: options and registration. The algorithm itself is in `slmk_algo_rlpd.rlpd`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal

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

__all__ = ["RLPDConfig"]


class RLPDConfig(OffPolicyConfig):
    """Options of RLPD. The defaults are those of Ball et al. (2023), arXiv:2302.02948, table 3.

    Layer normalisation of the critics is the network's own option.
    """

    roles: ClassVar = ("actor", "critic")
    normalizers: ClassVar = ("obs",)

    learning_starts: NonNegativeInt = 5_000
    """Environment steps with uniformly random actions before learning starts."""
    utd_ratio: Positive = 20.0
    """Gradient steps of the critics per environment transition, whatever `env.num_envs` and `horizon` are."""
    policy_delay: PositiveInt = 20
    """Gradient steps of the critics for each of actor and temperature, which share its batch."""
    lr: NonNegativeSchedule = 3e-4
    """Learning rate of actor and critics."""
    gamma: Fraction = 0.99
    """Discount per step."""
    n_step: PositiveInt = 1
    """Steps of reward before the critics' value takes over."""
    tau: Fraction = 0.005
    """Share by which the target critics follow the critics in each gradient step."""
    critics: PositiveInt = 10
    """Critics, over whose mean the actor is trained (E)."""
    subset: PositiveInt = 2
    """Target critics, drawn anew for each gradient step, of whose values the smallest counts (Z)."""
    backup_entropy: bool = True
    """Whether the target of the critics pays for entropy too; the authors leave it out where rewards are sparse."""
    temperature: Literal["auto"] | NonNegative = "auto"
    """What a nat of entropy is worth (α), in units of reward; ``auto`` learns it, so that `target_entropy` is kept."""
    temperature_init: Positive = 1.0
    """α at the start, where it is learned."""
    temperature_lr: Positive = 3e-4
    """Learning rate of log α."""
    target_entropy: Literal["auto"] | float = "auto"
    """Mean entropy to keep, in nats; ``auto`` for −½ per dimension of continuous actions, 0.3 log n of n discrete."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """A subset is no larger than the whole."""
        yield from super().problems(spec)
        if self.subset > self.critics:
            yield "subset", f"a subset of {self.subset} cannot be drawn from {self.critics} critics"


@hookimpl
def slmk_algorithms() -> Iterable[Component]:
    """Offer ``rlpd``."""
    summary = "soft actor-critic at a high update-to-data ratio, with or without demonstrations"
    return [Component("rlpd", RLPDConfig, "slmk_algo_rlpd.rlpd:RLPD", summary)]
