"""The adapter: one manager-based simulator of N environments, step by step in the form of the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from slmk.batch import Obs, Step
from slmk.errors import Problem, SpecError
from slmk.protocols import Metrics
from slmk_env_managed.groups import flat, named, space_of
from slmk_env_managed.means import Means

__all__ = ["Adapter", "Final", "Simulator"]


class Simulator(Protocol):
    """What is used of a manager-based environment, as of ``mjlab.envs.ManagerBasedRlEnv``."""

    cfg: Any
    """The environment's config; ``is_finite_horizon`` says that time limits belong to the task."""
    single_action_space: Any
    """The action space of one environment, with ``shape``, ``low`` and ``high``."""

    def reset(self, *, seed: int | None = None) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """Start N episodes: the observation groups, and extras."""
        ...

    def step(self, action: Tensor) -> tuple[Mapping[str, Any], Tensor, Tensor, Tensor, dict[str, Any]]:
        """Observation groups, reward, terminated, time-outs (each (N,)) and extras."""
        ...


Final = Callable[[Obs, Tensor, Mapping[str, Any]], tuple[Obs, Obs]]
"""Called where some episode ended, with the observations that a step returned, the mask (N,) of ended episodes and the
extras: gives what to act on next, and the last observations of the episodes that ended."""


class Adapter:
    """Copies, names and types what a simulator returns; of its own it has no state but sums."""

    def __init__(self, simulator: Simulator, final: Final, *, device: torch.device, clip_actions: float = 0.0) -> None:
        """Reset the simulator once, to see its observation groups.

        Args:
            simulator: the environments.
            final: what the simulator does where episodes end.
            device: of all tensors.
            clip_actions: bound of each action's absolute value; 0 for the simulator's own bounds.

        Raises:
            SpecError: the actions are not continuous.
        """
        self._simulator = simulator
        self._final = final
        self._clip = clip_actions
        self._finite = bool(getattr(simulator.cfg, "is_finite_horizon", False))
        self.means = Means(device)
        """Means of the figures that the simulator has logged."""
        self.observation_spaces = {name: space_of(x) for name, x in flat(simulator.reset()[0]).items()}
        """The space of each group."""
        self.action_space = _action_space(simulator.single_action_space, clip_actions)
        """The space of one environment's action."""

    def reset(self, seed: int | None = None) -> Obs:
        """Start N episodes, in the simulator's way of seeding if a seed is given."""
        obs, extras = self._simulator.reset() if seed is None else self._simulator.reset(seed=seed)
        _take_log(extras)
        return flat(obs)

    def step(self, action: Tensor) -> Step:
        """Act once in every environment: `action` is (N, A). Looks at whether an episode ended, as simulators do."""
        if self._clip:
            action = action.clamp(-self._clip, self._clip)
        observed, reward, terminated, time_outs, extras = self._simulator.step(action)
        obs = final_obs = flat(observed)
        reward = reward.to(torch.float32, copy=True)
        self.means.add(_take_log(extras))
        terminated, truncated = self._ends(terminated, time_outs)
        ended = terminated | truncated
        if ended.any():
            obs, final_obs = self._final(obs, ended, extras)
            self.means.add(_take_log(extras))
        return Step(obs, final_obs, reward, terminated, truncated)

    def metrics(self) -> Metrics:
        """See `slmk.protocols.Env`."""
        return self.means.take()

    def role_groups(self, wanted: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The groups of each role, from the simulator's names for them; without roles of which no group is there."""
        found = {role: named(self.observation_spaces, groups) for role, groups in wanted.items()}
        return {role: groups for role, groups in found.items() if groups}

    def _ends(self, terminated: Tensor, time_outs: Tensor) -> tuple[Tensor, Tensor]:
        """Terminated and truncated, never both; where the horizon is finite its end is one of the task."""
        if self._finite:
            return terminated.bool() | time_outs.bool(), torch.zeros_like(terminated, dtype=torch.bool)
        return terminated.to(torch.bool, copy=True), time_outs.bool() & ~terminated.bool()


def _take_log(extras: dict[str, Any]) -> Mapping[str, Any]:
    """What was logged since the log was taken last.

    The extras are the simulator's own. Some tasks make a new log now and then, others fill one and the same for ever:
    an empty one is left in its place.
    """
    log, extras["log"] = extras.get("log"), {}
    return log or {}


def _action_space(space: Any, clip: float) -> spaces.Box:
    if isinstance(space, spaces.Space) and not isinstance(space, spaces.Box):
        problem = Problem("actions of this kind are not supported", "env.id", expected="a box", found=str(space))
        raise SpecError([problem])
    low, high = (-clip, clip) if clip else (space.low, space.high)
    shape = tuple(space.shape)
    return spaces.Box(
        np.broadcast_to(np.asarray(low, np.float32), shape), np.broadcast_to(np.asarray(high, np.float32), shape)
    )
