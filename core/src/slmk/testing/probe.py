"""An environment for contract checks that has any action space and examines every action it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from slmk.batch import Obs
from slmk.component import Component
from slmk.config import EnvConfig
from slmk.hookspecs import hookimpl
from slmk.testing.toy_envs import Task, ToyEnv

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ACTION_SPACES", "ProbeConfig", "assert_actions", "draw_mask", "make_probe", "slmk_env_backends"]

ACTION_SPACES: dict[str, spaces.Space[Any]] = {
    "discrete": spaces.Discrete(4),
    "discrete from 1": spaces.Discrete(3, start=1),
    "multi-discrete": spaces.MultiDiscrete([3, 2]),
    "multi-binary": spaces.MultiBinary(3),
    "box": spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([1.0, 10.0], np.float32)),
    "box matrix": spaces.Box(-1.0, 1.0, (2, 2), np.float32),
    "unbounded box": spaces.Box(-np.inf, np.inf, (2,), np.float32),
}
"""What actions may look like, by name."""

_STEPS = 4


class ProbeConfig(EnvConfig):
    """Options of the probe."""

    action: str = "discrete"
    """A key of `ACTION_SPACES`."""
    groups: Literal["one", "two"] = "one"
    """Whether there is a group ``state`` alone, or a group ``hint`` beside it."""
    mask: bool = False
    """Whether a group ``mask`` forbids some of the discrete actions."""
    broken: bool = False
    """Whether every step raises a RuntimeError."""


def make_probe(config: ProbeConfig, *, device: torch.device, seed: int) -> ToyEnv:
    """The target of the component. Episodes take 4 steps and are then cut."""
    action = ACTION_SPACES[config.action]
    groups: dict[str, spaces.Space[Any]] = {"state": spaces.Box(-np.inf, np.inf, (3,), np.float32)}
    if config.groups == "two":
        groups["hint"] = spaces.Box(-1.0, 1.0, (2,), np.float32)
    if config.mask:
        groups["mask"] = spaces.MultiBinary(sum(_choices(action)))

    def first(count: int, generator: torch.Generator) -> Obs:
        return {name: _draw(name, action, count, generator) for name in groups}

    def reward(obs: Obs, action_taken: Tensor) -> Tensor:
        if config.broken:
            raise RuntimeError("this probe was asked to break")
        assert_actions(action, action_taken, obs)
        return obs["state"][:, 0] + action_taken.reshape(len(action_taken), -1)[:, 0].float().tanh()

    task = Task("Examines actions.", groups, action, first, _next, reward, _STEPS, terminates=False)
    return ToyEnv(task, config, device=device, seed=seed)


def assert_actions(space: spaces.Space[Any], action: Tensor, obs: Mapping[str, Tensor]) -> None:
    """Raise AssertionError unless every row of `action` (N, *shape) lies in the space and the mask allows it."""
    count = len(next(iter(obs.values())))
    assert isinstance(action, Tensor), f"an action is a {type(action).__name__}, not a tensor"
    expected = (count, *(space.shape or ()))
    assert action.shape == expected, f"actions for {space} have shape {tuple(action.shape)}, expected {expected}"
    for row in action.detach().cpu().numpy():
        assert space.contains(row), f"the action {row} (dtype {row.dtype}) is not in {space}"
    if "mask" in obs:
        allowed = obs["mask"].bool().gather(1, _columns(space, action)).all()
        assert allowed, f"an action that the group 'mask' forbids was chosen in {space}"


def draw_mask(space: spaces.Space[Any], count: int, generator: torch.Generator) -> Tensor:
    """Which discrete actions are allowed, (count, sum of choices) bool; of each choice one action at least."""
    masks = []
    for choices in _choices(space):
        mask = torch.rand(count, choices, generator=generator, device=generator.device) < 0.4
        sure = torch.randint(choices, (count, 1), generator=generator, device=generator.device)
        masks.append(mask.scatter(1, sure, True))
    return torch.cat(masks, 1)


def _choices(space: spaces.Space[Any]) -> list[int]:
    if isinstance(space, spaces.Discrete):
        return [int(space.n)]
    return [int(n) for n in space.nvec.flat] if isinstance(space, spaces.MultiDiscrete) else []


def _columns(space: spaces.Space[Any], action: Tensor) -> Tensor:
    """Where the mask speaks of the chosen actions (N, number of choices)."""
    starts = np.cumsum([0, *_choices(space)[:-1]]) - np.ravel(space.start)  # type: ignore[attr-defined]
    return action.reshape(len(action), -1).long() + torch.as_tensor(starts, device=action.device)


def _draw(name: str, action: spaces.Space[Any], count: int, generator: torch.Generator) -> Tensor:
    if name == "mask":
        return draw_mask(action, count, generator)
    if name == "hint":
        return torch.rand((count, 2), generator=generator, device=generator.device) * 2 - 1
    return torch.randn((count, 3), generator=generator, device=generator.device)


def _next(obs: Obs) -> Obs:
    """Each environment goes on with its neighbour's observation, and numbers change sign."""
    rolled = {name: value.roll(1, 0) for name, value in obs.items()}
    return {name: -value if value.is_floating_point() else value for name, value in rolled.items()}


@hookimpl
def slmk_env_backends() -> list[Component]:
    """The probe."""
    return [Component("toy-probe", ProbeConfig, f"{__name__}:make_probe", "Examines every action it is given.")]
