"""An environment with rewards on another scale: what `EnvConfig.reward_scale` puts in front of the real one."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from slmk.batch import Step
from slmk.env_info import EnvInfo
from slmk.protocols import Env

__all__ = ["ScaledEnv"]


class ScaledEnv:
    """Passes everything on, rewards multiplied."""

    def __init__(self, env: Env, scale: float) -> None:
        self._env = env
        self._scale = scale
        self.info: EnvInfo = env.info

    def __getattr__(self, name: str) -> Any:
        """All that has nothing to do with rewards, such as ``reset``."""
        if name == "_env":  # Not there yet: this is a copy that is being made.
            raise AttributeError(name)
        return getattr(self._env, name)

    def step(self, action: Tensor) -> Step:
        """See `slmk.protocols.Env.step`."""
        step = self._env.step(action)
        reward = step.reward * self._scale
        return Step(step.obs, step.final_obs, reward, step.terminated, step.truncated, step.info)
