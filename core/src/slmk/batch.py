"""The values that travel round the loop: slotted dataclasses of tensors.

Axes are always (T, N, …) from a rollout and (B, …) from a replay: T vector steps, N environments, B samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Act", "Obs", "Step", "Transition"]

Obs = dict[str, Tensor]
"""Observation groups by name, each ``(N, *shape)``, raw (not normalised), on the run's device."""


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
