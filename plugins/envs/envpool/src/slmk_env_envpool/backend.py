"""The backend: EnvPool's restart on the step after an end becomes a restart within the step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slmk.batch import Obs, Step
from slmk.env_info import EnvInfo
from slmk.errors import CheckpointError, Problem, SpecError
from slmk.toolbox.room import require_memory
from slmk_env_envpool.footprint import MANY, bytes_per_env
from slmk_env_envpool.layout import action_space, groups, joined
from slmk_env_envpool.make import make

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slmk_env_envpool import EnvPoolConfig

__all__ = ["EnvPoolEnv"]

_NO_TIME_LIMIT = 2**31 - 1
_ROBOT = {"actor": ("state",), "critic": ("privileged_state",)}
"""What roles read of the robots of MuJoCo Playground, which show the critic more than the actor."""


class EnvPoolEnv:
    """N environments of EnvPool, brought to the contract of `slmk.batch.Step`.

    Arrays go to and from the pool by `_send` and `_recv`, on which EnvPool's public ``step`` is built: that one builds
    a tree of dicts in each step, which would cost a quarter of the time of a small environment.
    """

    info: EnvInfo

    def __init__(self, config: EnvPoolConfig, *, device: torch.device, seed: int) -> None:
        """Make the environments.

        Raises:
            SpecError: the id or an option is unknown, the environment needs what the contract does not have, or there
                is no room for so many.
        """
        if config.num_envs >= MANY:
            require_memory(config.num_envs, bytes_per_env(config), torch.device("cpu"))
        self._config, self._device, self._tensor = config, device, _to(device)
        self._pool = make(config, seed)
        self._fresh_from: int | None = seed
        self._groups = joined(groups(self._pool), config.groups)
        keys = self._pool._state_keys
        self._reward, self._done, self._trunc = (keys.index(key) for key in ("reward", "done", "trunc"))
        self._id = keys.index("info:env_id")
        self._ids = np.arange(config.num_envs, dtype=np.int32)
        self._action_dtype = self._pool.spec.action_array_spec[self._pool.spec._action_keys[-1]].dtype
        limit = self._pool.config["max_episode_steps"]
        observation_spaces = {group.name: group.space for group in self._groups}
        self.info = EnvInfo(
            num_envs=config.num_envs,
            observation_spaces=observation_spaces,
            action_space=action_space(self._pool),
            device=device,
            max_episode_steps=limit if limit < _NO_TIME_LIMIT else None,
            role_groups=_ROBOT if {"state", "privileged_state"} <= set(observation_spaces) else {},
        )

    def reset(self, seed: int | None = None) -> Obs:
        """Start N new episodes. A seed makes the pool anew: EnvPool takes seeds at no other time."""
        if seed is not None and seed != self._fresh_from:
            self._pool.close()
            self._pool = make(self._config, seed)
        self._fresh_from = None
        self._pool._reset(self._ids)
        return self._obs(self._pool._recv())

    def step(self, action: Tensor) -> Step:
        """Act once in every environment: `action` is (N, *action shape)."""
        actions = np.ascontiguousarray(action.cpu().numpy(), self._action_dtype)
        self._pool._send([self._ids, self._ids, actions])
        arrays = self._pool._recv()
        done, truncated = arrays[self._done], arrays[self._trunc]
        reward = arrays[self._reward].astype(np.float32, copy=False)
        final = obs = self._obs(arrays)
        if np.count_nonzero(done):
            obs = self._restart(final, done)
        return Step(obs, final, self._tensor(reward), self._tensor(done & ~truncated), self._tensor(truncated))

    def render(self) -> npt.NDArray[np.uint8] | None:
        """An RGB picture (H, W, 3) of the first environment; None without ``render = true``.

        Raises:
            SpecError: there is no such camera.
        """
        if not self._config.render:
            return None
        camera = self._config.camera
        try:
            return np.asarray(self._pool.render(0, camera_id=camera)[0], np.uint8)
        except (IndexError, RuntimeError, ValueError) as error:
            raise SpecError([Problem(f"no picture: {error}", "env.camera", found=str(camera))]) from error

    def close(self) -> None:
        """End EnvPool's threads."""
        self._pool.close()

    def state_dict(self) -> dict[str, Any]:
        """Nothing: EnvPool gives no access to the state of its environments."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Does nothing for the empty state: call `reset` to start new episodes.

        Raises:
            CheckpointError: the state is not empty, so it is that of another backend.
        """
        if state:
            raise CheckpointError("EnvPool's environments cannot be restored, but the state is of some that can")

    def _restart(self, final: Obs, done: npt.NDArray[np.bool_]) -> Obs:
        """Start new episodes where `done`, so that EnvPool does not spend the next step on it, ignoring the action."""
        self._pool._reset(self._ids[done])
        arrays = self._pool._recv()
        rows = torch.from_numpy(arrays[self._id].astype(np.int64)).to(self._device)
        return {name: final[name].index_copy(0, rows, first) for name, first in self._obs(arrays).items()}

    def _obs(self, arrays: list[npt.NDArray[Any]]) -> Obs:
        tensor = self._tensor
        return {group.name: tensor(group.read(arrays)) for group in self._groups}


def _to(device: torch.device) -> Callable[[npt.NDArray[Any]], Tensor]:
    """The way from an array that nobody else holds to a tensor on `device`."""
    if device.type == "cpu":
        return torch.from_numpy
    return lambda array: torch.from_numpy(array).to(device)
