"""An environment that checks every step: what ``run.debug`` puts in front of the real one."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from slmk.batch import Obs, Step
from slmk.env_info import EnvInfo, tensor_dtype
from slmk.errors import RunError
from slmk.protocols import Env

__all__ = ["CheckedEnv"]


class CheckedEnv:
    """Passes everything on, and raises at the first value that is no tensor of the promised form, or not finite."""

    def __init__(self, env: Env) -> None:
        self._env = env
        self.info: EnvInfo = env.info

    def __getattr__(self, name: str) -> Any:
        """All that is not checked, such as ``state_dict``."""
        if name == "_env":  # Not there yet: this is a copy that is being made.
            raise AttributeError(name)
        return getattr(self._env, name)

    def reset(self, seed: int | None = None) -> Obs:
        """See `slmk.protocols.Env.reset`.

        Raises:
            RunError: what came back breaks the contract.
        """
        obs = self._env.reset(seed)
        self._check_obs("reset", obs)
        return obs

    def step(self, action: Tensor) -> Step:
        """See `slmk.protocols.Env.step`.

        Raises:
            RunError: the action or what came back breaks the contract.
        """
        self._check_action(action)
        step = self._env.step(action)
        if not isinstance(step, Step):
            raise RunError(f"step() returned a {type(step).__name__}, expected a Step")
        self._check("reward", step.reward, (), torch.float32)
        self._check("terminated", step.terminated, (), torch.bool)
        self._check("truncated", step.truncated, (), torch.bool)
        _refuse("terminated and truncated at once", step.terminated & step.truncated)
        self._check_obs("obs", step.obs)
        if step.final_obs is not step.obs:
            self._check_obs("final_obs", step.final_obs, step.terminated | step.truncated)
        return step

    def _check_action(self, action: Tensor) -> None:
        space = self.info.action_space
        self._check("action", action, tuple(space.shape or ()))
        match space:
            case spaces.Discrete(start=start, n=n):
                outside = (action < int(start)) | (action >= int(start + n))
            case spaces.MultiDiscrete(start=start, nvec=nvec):
                low, high = (torch.as_tensor(x, device=action.device) for x in (start, start + nvec))
                outside = ((action < low) | (action >= high)).flatten(1).any(1)
            case _:
                return
        _refuse(f"action: not in {space}", outside)

    def _check_obs(self, where: str, obs: Obs, rows: Tensor | None = None) -> None:
        """Raise for what is wrong with observations, of which only `rows` (N,) need to be finite; by default all."""
        known = self.info.observation_spaces
        if not isinstance(obs, dict) or set(obs) != set(known):
            found = f"groups {sorted(obs)}" if isinstance(obs, dict) else f"a {type(obs).__name__}"
            raise RunError(f"{where}: {found}, expected groups {sorted(known)}")
        for name, space in known.items():
            self._check(f"{where}[{name!r}]", obs[name], tuple(space.shape or ()), tensor_dtype(space), rows)

    def _check(
        self,
        name: str,
        value: Any,
        shape: tuple[int, ...],
        dtype: torch.dtype | None = None,
        rows: Tensor | None = None,
    ) -> None:
        expected = (self.info.num_envs, *shape)
        if not isinstance(value, Tensor):
            raise RunError(f"{name}: a {type(value).__name__}, expected a tensor")
        if tuple(value.shape) != expected:
            raise RunError(f"{name}: shape {tuple(value.shape)}, expected {expected}")
        if dtype is not None and value.dtype != dtype:
            raise RunError(f"{name}: {value.dtype}, expected {dtype}")
        if value.device.type != self.info.device.type:
            raise RunError(f"{name}: on {value.device}, expected {self.info.device}")
        if value.is_floating_point():
            lost = ~torch.isfinite(value).reshape(len(value), -1).all(1)
            _refuse(f"{name}: not finite", lost if rows is None else lost & rows)


def _refuse(what: str, rows: Tensor) -> None:
    """Raise where any of `rows` (N,) is true."""
    if rows.any():
        raise RunError(f"{what} in environments {rows.nonzero().flatten().tolist()}")
