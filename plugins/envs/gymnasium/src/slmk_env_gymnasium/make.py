"""From options to Gymnasium environments, with mistakes reported as problems of the spec."""

from __future__ import annotations

import copy
import re
from contextlib import nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeVar

import gymnasium as gym
from gymnasium import spaces

from slmk.errors import Problem, RunError, SpecError, did_you_mean
from slmk.toolbox.mujoco_log import mujoco_warnings_logged

if TYPE_CHECKING:
    from collections.abc import Callable

    from gymnasium.envs.registration import EnvSpec

    from slmk_env_gymnasium import GymnasiumConfig

__all__ = ["Masked", "Repeat", "find", "make", "or_problem"]

_Made = TypeVar("_Made")
_OURS = {"max_episode_steps": "env.max_episode_steps", "render_mode": "env.render"}
"""Arguments of `gymnasium.make` that are not the environment's, with what to set instead."""
_REFUSALS = (AssertionError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What environments raise at values that they cannot take."""
_SIGNATURE = re.compile(r"unexpected keyword argument|missing \d+ required")
"""What Python says where an environment was made with arguments that it does not have, or without those it wants."""
_EXTRAS = {"classic_control": "classic-control", "toy_text": "classic-control", "box2d": "box2d", "mujoco": "mujoco"}


class Repeat(gym.Wrapper[Any, Any, Any, Any]):
    """Applies each action `times` times, or until the episode ends, and adds the rewards up."""

    def __init__(self, env: gym.Env[Any, Any], times: int) -> None:
        super().__init__(env)
        self.times = times

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """The last observation, the sum of rewards, and how it ended."""
        total = 0.0
        for _ in range(self.times):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return obs, total, terminated, truncated, info


class Masked(gym.Wrapper[Any, Any, Any, Any]):
    """Moves what ``info`` says of allowed actions into the observation, as the group ``mask``."""

    def __init__(self, env: gym.Env[Any, Any], key: str) -> None:
        """Lay out the observations with a mask.

        Raises:
            SpecError: actions are not discrete.
        """
        super().__init__(env)
        if not isinstance(env.action_space, spaces.Discrete):
            raise SpecError([Problem(f"only Discrete actions can be masked, not {env.action_space}", path="env.mask")])
        inner = env.observation_space
        self._is_dict = isinstance(inner, spaces.Dict)
        groups = dict(inner.items()) if isinstance(inner, spaces.Dict) else {"obs": inner}
        self.observation_space = spaces.Dict({**groups, "mask": spaces.MultiBinary(int(env.action_space.n))})
        self.key = key

    def look(self) -> None:
        """Reset once, to see whether ``info`` has the key.

        Raises:
            SpecError: it has not.
        """
        info = self.env.reset()[1]
        if self.key not in info:
            message = "the environment's info has no such key"
            raise SpecError([Problem(message, path="env.mask", found=f"'{self.key}'; it has {_listed(info)}")])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """The first observation, with its mask."""
        obs, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(obs, info), info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """The next observation, with its mask, and what else a step gives."""
        obs, *rest, info = self.env.step(action)
        return (self._with_mask(obs, info), *rest, info)  # type: ignore[return-value]

    def _with_mask(self, obs: Any, info: dict[str, Any]) -> dict[str, Any]:
        if self.key not in info:
            raise RunError(f"the info of this step has no '{self.key}', which env.mask names; it has {_listed(info)}")
        return {**(obs if self._is_dict else {"obs": obs}), "mask": info[self.key]}


def find(config: GymnasiumConfig) -> EnvSpec:
    """What is registered under the id, after importing what the options say.

    Raises:
        SpecError: a module cannot be imported, the id is not registered, or an argument is not one of the environment.
    """
    if problems := [_not_an_argument(key) for key in config.kwargs if key in _OURS]:
        raise SpecError(problems)
    for module in config.imports:
        _import(module, "env.imports")
    module, _, name = config.id.rpartition(":")
    if module:
        _import(module, "env.id")
    try:
        return gym.spec(name)
    except gym.error.Error as error:
        raise SpecError([_unknown(name)]) from error


def make(spec: EnvSpec, config: GymnasiumConfig) -> gym.Env[Any, Any]:
    """One environment. The order of calls is not checked: the backend keeps it.

    Raises:
        SpecError: a library is missing, or the environment refuses its arguments.
    """
    spec = copy.deepcopy(spec)
    spec.order_enforce = False
    options: dict[str, Any] = {"disable_env_checker": True, **config.kwargs}
    if config.max_episode_steps:
        options["max_episode_steps"] = config.max_episode_steps
    if config.render:
        options["render_mode"] = "rgb_array"
    env: gym.Env[Any, Any] = or_problem(spec, config, lambda: gym.make(spec, **options))
    if config.action_repeat > 1:
        env = Repeat(env, config.action_repeat)
    return Masked(env, config.mask) if config.mask else env


def or_problem(spec: EnvSpec, config: GymnasiumConfig, create: Callable[[], _Made]) -> _Made:
    """What `create` makes, or a `SpecError` that says why the environment cannot be made."""
    try:
        with mujoco_warnings_logged() if "mujoco" in str(spec.entry_point) else nullcontext():
            return create()
    except (ImportError, gym.error.Error) as error:
        raise SpecError([_not_installed(spec, error)]) from error
    except _REFUSALS as error:
        if not config.kwargs and not (isinstance(error, TypeError) and _SIGNATURE.search(str(error))):
            raise
        raise SpecError([_refused(spec, error)]) from error


def _import(module: str, path: str) -> None:
    try:
        import_module(module)
    except ImportError as error:
        hint = "install the package that registers the environment, or correct the name"
        raise SpecError([Problem(f"cannot import '{module}': {error}", path=path, hint=hint)]) from error


def _unknown(name: str) -> Problem:
    hint = did_you_mean(name, gym.registry) or "if a package of yours registers it, name the package in env.imports"
    return Problem("no environment is registered under this id", path="env.id", found=f"'{name}'", hint=hint)


def _not_an_argument(key: str) -> Problem:
    message = "this is not an argument of the environment"
    return Problem(message, path=f"env.kwargs.{key}", hint=f"set {_OURS[key]} instead")


def _refused(spec: EnvSpec, error: Exception) -> Problem:
    reason = f"{type(error).__name__}: {error}".split(" was raised from")[0]
    return Problem(f"'{spec.id}' does not take these arguments: {reason}", path="env.kwargs")


def _listed(info: dict[str, Any]) -> str:
    return ", ".join(sorted(info)) or "no keys"


def _not_installed(spec: EnvSpec, error: Exception) -> Problem:
    family = str(spec.entry_point).removeprefix("gymnasium.envs.").split(".")[0].split(":")[0]
    extra = _EXTRAS.get(family)
    hint = f"pip install 'slmk-env-gymnasium[{extra}]'" if extra else "install what the environment needs"
    reason = str(error).strip().rstrip(".")
    return Problem(f"'{spec.id}' cannot be created: {reason}", path="env.id", hint=hint)
