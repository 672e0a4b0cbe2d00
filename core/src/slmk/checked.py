"""An environment that checks every step: what ``run.debug`` puts in front of the real one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from slmk.batch import Obs, Step
from slmk.env_info import EnvInfo
from slmk.errors import RunError
from slmk.protocols import Env

__all__ = ["CheckedEnv"]


class CheckedEnv:
    """Passes everything on, and raises at the first tensor of wrong shape, type or device, or that is not finite."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self.info: EnvInfo = env.info

    def __getattr__(self, name: str) -> Any:
        """All that is not checked, such as ``state_dict``."""
        return getattr(self._env, name)

    def reset(self, seed: int | None = None) -> Obs:
        """See `slmk.protocols.Env.reset`."""
        obs = self._env.reset(seed)
        self._check_obs("reset", obs)
        return obs

    def step(self, action: Tensor) -> Step:
        """See `slmk.protocols.Env.step`.

        Raises:
            RunError: the action or what came back breaks the contract.
        """
        self._check("action", action, tuple(self.info.action_space.shape or ()))
        step = self._env.step(action)
        self._check_obs("obs", step.obs)
        self._check("reward", step.reward, (), torch.float32)
        self._check("terminated", step.terminated, (), torch.bool)
        self._check("truncated", step.truncated, (), torch.bool)
        return step

    def _check_obs(self, where: str, obs: Obs) -> None:
        spaces = self.info.observation_spaces
        if set(obs) != set(spaces):
            raise RunError(f"{where}: groups {sorted(obs)}, expected {sorted(spaces)}")
        for name, space in spaces.items():
            self._check(f"{where}[{name!r}]", obs[name], tuple(space.shape or ()))

    def _check(self, name: str, value: Tensor, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> None:
        expected = (self.info.num_envs, *shape)
        if tuple(value.shape) != expected:
            raise RunError(f"{name}: shape {tuple(value.shape)}, expected {expected}")
        if dtype is not None and value.dtype != dtype:
            raise RunError(f"{name}: {value.dtype}, expected {dtype}")
        if value.device.type != self.info.device.type:
            raise RunError(f"{name}: on {value.device}, expected {self.info.device}")
        if value.is_floating_point() and not torch.isfinite(value).all():
            rows = torch.nonzero(~torch.isfinite(value).reshape(len(value), -1).all(1)).flatten().tolist()
            raise RunError(f"{name}: not finite in environments {rows}")
