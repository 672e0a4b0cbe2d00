"""The backend: arrays of a simulation on one side, tensors on the run's device on the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from gymnasium import spaces
from torch import Tensor

from slmk.batch import Obs, Step
from slmk.env_info import EnvInfo
from slmk.errors import CheckpointError, Problem, SpecError
from slmk_env_gymnasium.choose import Choice, choose
from slmk_env_gymnasium.keep import Selection
from slmk_env_gymnasium.layout import Layout, within_float32
from slmk_env_gymnasium.make import find

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from slmk_env_gymnasium import GymnasiumConfig

__all__ = ["GymnasiumEnv"]

_ACTIONS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class GymnasiumEnv:
    """N Gymnasium environments, brought to the contract of `slmk.batch.Step`."""

    info: EnvInfo
    choice: Choice
    """How the environments are stepped: ``native``, ``sync`` or ``async``."""

    def __init__(self, config: GymnasiumConfig, *, device: torch.device, seed: int) -> None:
        """Make the environments.

        Raises:
            SpecError: the id is unknown, a library is missing, the arguments do not fit, a space has no tensor form, or
                what is to be kept of the observations is not there.
        """
        spec = find(config)
        self.choice, self._simulation, observation_space, action_space = choose(spec, config)
        self._seed: int | None = seed
        self._action_dtype = action_space.dtype
        self._tensor, self._array = _border(device)
        self._selection = Selection(Layout(observation_space).spaces, config.keep)
        self.info = EnvInfo(
            num_envs=config.num_envs,
            observation_spaces=self._selection.spaces,
            action_space=_checked(action_space),
            device=device,
            max_episode_steps=_limit(config.max_episode_steps or spec.max_episode_steps, config.action_repeat),
            exact_state=self._simulation.exact,
        )

    def reset(self, seed: int | None = None) -> Obs:
        """Start N new episodes; without a seed, the first call uses that of the constructor."""
        seed, self._seed = self._seed if seed is None else seed, None
        return self._obs(self._simulation.reset(seed))

    def step(self, action: Tensor) -> Step:
        """Act once in every environment: `action` is (N, *action shape)."""
        # A copy: environments may write into their actions, and the tensor is stored with the transition.
        actions = self._array(action).astype(self._action_dtype)
        arrays, last, reward, terminated, truncated = self._simulation.step(actions)
        obs = self._obs(arrays)
        final = obs if last is arrays else self._obs(last)
        tensor = self._tensor
        return Step(obs, final, tensor(reward), tensor(terminated), tensor(truncated))

    def render(self) -> npt.NDArray[np.uint8] | None:
        """An RGB picture (H, W, 3) of the first environment; None without ``render = true``."""
        return self._simulation.render()

    def close(self) -> None:
        """Close the environments and end the worker processes."""
        self._simulation.close()

    def state_dict(self) -> dict[str, Any]:
        """The state of every environment where it is known exactly (``info.exact_state``), and otherwise nothing."""
        return {"envs": self._simulation.get_state()} if self.info.exact_state else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state. Does nothing for an empty one: call `reset` to start new episodes then.

        Raises:
            CheckpointError: there is a state, but these environments cannot take one.
        """
        if bool(state) != self.info.exact_state:
            mine, given = ("can" if exact else "cannot" for exact in (self.info.exact_state, bool(state)))
            raise CheckpointError(f"these environments {mine} be restored, those of the saved state {given}")
        if state:
            self._simulation.set_state(_as_arrays(state["envs"]))
            self._seed = None

    def _obs(self, arrays: Mapping[str, npt.NDArray[Any]]) -> Obs:
        tensor = self._tensor
        return {name: tensor(array) for name, array in self._selection(arrays).items()}


def _border(device: torch.device) -> tuple[Callable[[npt.NDArray[Any]], Tensor], Callable[[Tensor], npt.NDArray[Any]]]:
    """The ways from an array that nobody else holds to a tensor on `device`, and from such a tensor to an array."""
    if device.type == "cpu":
        return torch.from_numpy, Tensor.numpy
    return lambda array: torch.from_numpy(array).to(device), lambda tensor: tensor.cpu().numpy()


def _as_arrays(state: Any) -> Any:
    """A state whose arrays a checkpoint turned into tensors, as it was."""
    if isinstance(state, Tensor):
        return state.cpu().numpy()
    if isinstance(state, Mapping):
        return {name: _as_arrays(value) for name, value in state.items()}
    return [_as_arrays(value) for value in state] if isinstance(state, list | tuple) else state


def _limit(steps: int | None, repeat: int) -> int | None:
    """The time limit in actions: the last one may be cut short."""
    return None if steps is None else -(-steps // repeat)


def _checked(space: spaces.Space[Any]) -> spaces.Space[Any]:
    if isinstance(space, _ACTIONS):
        return within_float32(space)
    raise SpecError(
        [
            Problem(
                f"the action is a {type(space).__name__} space, which is not supported",
                path="env.id",
                expected="Box, Discrete, MultiDiscrete or MultiBinary",
                hint="register a variant of the environment whose wrapper flattens the action",
            )
        ]
    )
