"""Tiny environments with known answers, in plain torch, for tests of algorithms, memories and loops.

| name | task | answer |
|---|---|---|
| ``toy-truncating`` | two states in turn, reward 1, cut every 5 steps | value 1/(1-gamma): 10 for .9 |
| ``toy-luck`` | the observation says if the steps of an episode pay 1 or 0; cut every 5 | values 10 and 0 for .9 |
| ``toy-bandit`` | the one-hot observation says which of 4 actions pays 1; one-step episodes | return 1 |
| ``toy-continuous`` | reward -(action - observation)²; one-step episodes | return 0, action = observation |
| ``toy-multidiscrete`` | two one-hots say what each of two actions should be | return 1 |
| ``toy-multibinary`` | three bits to be repeated | return 1 |
| ``toy-groups`` | the action that pays is the exclusive or of two groups, ``left`` and ``right`` | return 1 |

A policy that ignores observations cannot have these returns, and in ``toy-truncating`` an algorithm that takes a time
limit for a real end finds a value near 4.1, which is 1 + .9 + … + .9⁴, or below. In ``toy-luck`` one that goes on from
the first observation of the next episode, where it should from the last one of the old, finds values between 10 and 0.

The components are not registered anywhere: give this module to the registry, as a plugin module that implements
``slmk_env_backends``. Every toy has exact state, and more than one environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import one_hot

from slmk.batch import Obs, Step
from slmk.component import Component
from slmk.config import EnvConfig
from slmk.env_info import EnvInfo
from slmk.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TASKS", "Task", "ToyConfig", "ToyEnv", "make_toy", "slmk_env_backends"]


class ToyConfig(EnvConfig):
    """A toy environment has no options but the number of environments."""


@dataclass(frozen=True, slots=True)
class Task:
    """What one toy is: its spaces, and pure functions on batches."""

    summary: str
    """One line for `slmk plugins`."""
    observation_spaces: Mapping[str, spaces.Space[Any]]
    """The space of each group."""
    action_space: spaces.Space[Any]
    """The space of actions."""
    first: Callable[[int, torch.Generator], Obs]
    """First observations of N episodes."""
    advance: Callable[[Obs], Obs]
    """Observations after a step, from those before it; in one-step episodes that is the last observation."""
    reward: Callable[[Obs, Tensor], Tensor]
    """Rewards (N,) of actions (N, …) in observations."""
    steps: int
    """Length of every episode."""
    terminates: bool
    """Whether episodes end for good after that, or are cut."""


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
        return dict(self._obs)

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
        return Step(self._obs, final, reward, terminated, truncated)

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


def _draw_one_hot(size: int, *names: str) -> Callable[[int, torch.Generator], Obs]:
    def first(count: int, generator: torch.Generator) -> Obs:
        return {
            name: one_hot(torch.randint(size, (count,), generator=generator, device=generator.device), size).float()
            for name in names
        }

    return first


def _draw_uniform(count: int, generator: torch.Generator) -> Obs:
    return {"obs": torch.rand((count, 1), generator=generator, device=generator.device) * 2 - 1}


def _draw_bits(count: int, generator: torch.Generator) -> Obs:
    return {"obs": torch.randint(2, (count, 3), generator=generator, device=generator.device).float()}


def _draw_pair(count: int, generator: torch.Generator) -> Obs:
    drawn = {**_draw_one_hot(3, "three")(count, generator), **_draw_one_hot(2, "two")(count, generator)}
    return {"obs": torch.cat([drawn["three"], drawn["two"]], dim=1)}


def _swap(obs: Obs) -> Obs:
    return {name: value.flip(-1) for name, value in obs.items()}


def _nothing_more(obs: Obs) -> Obs:
    """The last observation of a one-step episode: zeros, which no first observation of the one-hot tasks is."""
    return {name: torch.zeros_like(value) for name, value in obs.items()}


def _one(obs: Obs, action: Tensor) -> Tensor:
    return torch.ones(len(action), device=action.device)


def _luck(obs: Obs, action: Tensor) -> Tensor:
    return obs["obs"][:, 1]


def _hits(obs: Obs, action: Tensor) -> Tensor:
    return obs["obs"].argmax(-1) == action


def _closeness(obs: Obs, action: Tensor) -> Tensor:
    return -(action - obs["obs"]).square().sum(-1)


def _pair_hits(obs: Obs, action: Tensor) -> Tensor:
    answer = torch.stack([obs["obs"][:, :3].argmax(-1), obs["obs"][:, 3:].argmax(-1)], dim=-1)
    return (answer == action).float().mean(-1)


def _bit_hits(obs: Obs, action: Tensor) -> Tensor:
    return (obs["obs"] == action).float().mean(-1)


def _exclusive_or(obs: Obs, action: Tensor) -> Tensor:
    return (obs["left"].argmax(-1) + obs["right"].argmax(-1)) % 2 == action


def _unit(size: int) -> spaces.Box:
    return spaces.Box(0.0, 1.0, (size,), np.float32)


_SYMMETRIC = spaces.Box(-1.0, 1.0, (1,), np.float32)
_TWO_GROUPS = {"left": _unit(2), "right": _unit(2)}

TASKS: dict[str, Task] = {
    "toy-truncating": Task(
        "Two states in turn, reward 1, cut every 5 steps: the value is 1/(1-gamma).",
        {"obs": _unit(2)}, spaces.Discrete(2), _draw_one_hot(2, "obs"), _swap, _one, 5, False,
    ),
    "toy-luck": Task(
        "Every step of an episode pays 1 or none does, as is observed; cut every 5 steps: values 1/(1-gamma) and 0.",
        {"obs": _unit(2)}, spaces.Discrete(2), _draw_one_hot(2, "obs"), dict, _luck, 5, False,
    ),
    "toy-bandit": Task(
        "The observation says which of four actions pays 1.",
        {"obs": _unit(4)}, spaces.Discrete(4), _draw_one_hot(4, "obs"), _nothing_more, _hits, 1, True,
    ),
    "toy-continuous": Task(
        "Repeat the observed number.",
        {"obs": _SYMMETRIC}, _SYMMETRIC, _draw_uniform, _nothing_more, _closeness, 1, True,
    ),
    "toy-multidiscrete": Task(
        "Two discrete actions at once, both shown by the observation.",
        {"obs": _unit(5)}, spaces.MultiDiscrete([3, 2]), _draw_pair, _nothing_more, _pair_hits, 1, True,
    ),
    "toy-multibinary": Task(
        "Repeat three observed bits.",
        {"obs": _unit(3)}, spaces.MultiBinary(3), _draw_bits, _nothing_more, _bit_hits, 1, True,
    ),
    "toy-groups": Task(
        "The exclusive or of two observation groups.",
        _TWO_GROUPS, spaces.Discrete(2), _draw_one_hot(2, "left", "right"), _nothing_more, _exclusive_or, 1, True,
    ),
}  # fmt: skip
"""Every toy by its name."""


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
