"""Tiny environments with known answers, for tests of algorithms, memories and loops; `toy_tasks` tells which.

The components are not registered anywhere: give this module to the registry, as a plugin module that implements
``slmk_env_backends``. Every toy has exact state, and more than one environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slmk.batch import Obs, Step
from slmk.component import Component
from slmk.config import EnvConfig
from slmk.env_info import EnvInfo
from slmk.hookspecs import hookimpl
from slmk.testing.toy_tasks import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TASKS", "Task", "ToyConfig", "ToyEnv", "make_toy", "slmk_env_backends"]


class ToyConfig(EnvConfig):
    """A toy environment has no options but the number of environments."""


class ToyEnv:
    """N copies of a task, all of whose episodes have the same length."""

    def __init__(self, task: Task, config: EnvConfig, *, device: torch.device, seed: int) -> None:
        self._task = task
        self._generator = torch.Generator(device).manual_seed(seed)
        self._obs: Obs = {}
        self._steps = 0
        self.info = EnvInfo(
            num_envs=config.num_envs,
            observation_spaces=task.observation_spaces,
            action_space=task.action_space,
            device=device,
            max_episode_steps=task.steps,
            exact_state=True,
        )

    def reset(self, seed: int | None = None) -> Obs:
        """Start N episodes."""
        if seed is not None:
            self._generator.manual_seed(seed)
        self._steps, self._obs = 0, self._task.first(self.info.num_envs, self._generator)
        return self._shown(self._obs)

    def step(self, action: Tensor) -> Step:
        """Act in every copy; all episodes end together."""
        task, count, device = self._task, self.info.num_envs, self.info.device
        reward = task.reward(self._obs, action).float()
        final = self._obs = task.advance(self._obs)
        self._steps += 1
        ended = self._steps == task.steps
        if ended:
            self._steps, self._obs = 0, task.first(count, self._generator)
        terminated = torch.full((count,), ended and task.terminates, device=device)
        truncated = torch.full((count,), ended and not task.terminates, device=device)
        obs = self._shown(self._obs)
        return Step(obs, self._shown(final) if ended else obs, reward, terminated, truncated)

    def render(self) -> None:
        """There is nothing to see."""

    def close(self) -> None:
        """There is nothing to close."""

    def state_dict(self) -> dict[str, Any]:
        """Observations, elapsed steps and the generator: all there is."""
        obs = {name: value.clone() for name, value in self._obs.items()}
        return {"obs": obs, "steps": self._steps, "random": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly from a saved state."""
        self._obs = {name: value.to(self.info.device, copy=True) for name, value in state["obs"].items()}
        self._steps = state["steps"]
        self._generator.set_state(state["random"].cpu())

    def _shown(self, obs: Obs) -> Obs:
        return {name: value for name, value in obs.items() if name not in self._task.hidden}


def make_toy(name: str, num_envs: int = 1, seed: int = 0, device: str = "cpu") -> ToyEnv:
    """The toy `name`, without a registry."""
    return ToyEnv(TASKS[name], ToyConfig(num_envs=num_envs), device=torch.device(device), seed=seed)


def _target(name: str) -> str:
    return f"{__name__}:{name.replace('-', '_')}"


def __getattr__(attribute: str) -> Callable[..., ToyEnv]:
    """The target of each component: ``toy_bandit`` and so on."""
    name = attribute.replace("_", "-")
    if name not in TASKS:
        raise AttributeError(f"module {__name__!r} has no attribute {attribute!r}")
    return lambda config, *, device, seed: ToyEnv(TASKS[name], config, device=device, seed=seed)


@hookimpl
def slmk_env_backends() -> list[Component]:
    """All toys."""
    return [Component(name, ToyConfig, _target(name), task.summary) for name, task in TASKS.items()]
