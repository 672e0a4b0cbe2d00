"""The values that travel round the loop: slotted dataclasses of tensors.

Axes are always (T, N, …) from a rollout and (B, …) from a replay: T vector steps, N environments, B samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["CARRY", "FIRST", "MASK", "Act", "Obs", "Sample", "Step", "Transition", "allowed_actions"]

Obs = dict[str, Tensor]
"""Observation groups by name, each ``(N, *shape)``, raw (not normalised), on the run's device."""

CARRY = "carry/"
"""Prefix of the groups that hold the state of recurrent networks, as in ``carry/actor`` (N, width): what the network of
that role remembers from before this observation. The run provides them; see `slmk.recurrence`."""
FIRST = "first"
"""The group (N,) bool, present beside carries: whether this is the first observation of an episode."""
MASK = "mask"
"""The group (N, choices) that says which discrete actions are allowed: read by action heads rather than by networks, as
`allowed_actions`."""


@dataclass(slots=True)
class Step:
    """What N environments return for one action each. No tensor is ever overwritten later."""

    obs: Obs
    """What to act on next: where an episode ended, the first observation of the new one."""
    final_obs: Obs
    """The last observation of an episode, valid in the rows that are done. May be the very dict `obs` when none is."""
    reward: Tensor
    """(N,) float32."""
    terminated: Tensor
    """(N,) bool: the task ended here; there is no value after it."""
    truncated: Tensor
    """(N,) bool: the episode was cut, by a time limit for one; the value of `final_obs` still counts."""
    info: dict[str, Tensor] = field(default_factory=dict)
    """Diagnostics, each (N,)."""


@dataclass(slots=True)
class Act:
    """Actions for N environments, with what the algorithm wants to remember of how they came about."""

    action: Tensor
    """(N, *action shape), in the environment's own range."""
    extras: dict[str, Tensor] = field(default_factory=dict)
    """Each (N, …), such as the action before squashing or its log-probability; stored with the transition."""


@dataclass(slots=True)
class Transition:
    """Experience, with axes (T, N, …) from a rollout or (B, …) from a replay."""

    obs: Obs
    action: Tensor
    reward: Tensor
    next_obs: Obs
    """The observation after the action, of the same episode always: `Step.final_obs` where the episode ended."""
    terminated: Tensor
    truncated: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)

    def map(self, function: Callable[[Tensor], Tensor]) -> Transition:
        """The same experience with `function` applied to every tensor."""
        return Transition(
            obs={name: function(value) for name, value in self.obs.items()},
            action=function(self.action),
            reward=function(self.reward),
            next_obs={name: function(value) for name, value in self.next_obs.items()},
            terminated=function(self.terminated),
            truncated=function(self.truncated),
            extras={name: function(value) for name, value in self.extras.items()},
        )

    def flatten(self) -> Transition:
        """Join the two leading axes: (T, N, …) becomes (T·N, …), without copying."""
        return self.map(lambda value: value.flatten(0, 1))


@dataclass(slots=True, kw_only=True)
class Sample(Transition):
    """What a replay draws: transitions with what learning from old experience needs besides.

    Axes are (B, …), or (L, B, …) for sequences of L steps; carries are those before the first step, (B, width).
    """

    discount: Tensor
    """Factor of the value of `next_obs`: γ to the power of the steps that `reward` sums up."""
    weight: Tensor
    """Weight of each transition in the loss: importance weights, and 0 for steps that only warm up a recurrent network
    or that lie beyond the end of an episode."""
    index: Tensor
    """Where it came from (B,), for `Memory.feedback`."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Sample:
        """The same sample with `function` applied to every tensor."""
        plain = Transition.map(self, function)
        return Sample(
            **{name: getattr(plain, name) for name in Transition.__slots__},
            discount=function(self.discount),
            weight=function(self.weight),
            index=function(self.index),
        )


def allowed_actions(obs: Obs) -> Tensor | None:
    """Which discrete actions are allowed, (*batch, choices) bool: all choices of MultiDiscrete, one after the other.

    None where `obs`, groups (*batch, *shape), has no group `MASK`: then all are.
    """
    mask = obs.get(MASK)
    return None if mask is None else mask.bool()
