"""The backend: one simulation of Isaac Lab as N environments of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slmk.batch import Obs, Step
from slmk.env_info import EnvInfo
from slmk.errors import Problem, SpecError
from slmk.protocols import Metrics
from slmk_env_isaaclab.make import make
from slmk_env_managed import Adapter, flat, mixed

if TYPE_CHECKING:
    from slmk_env_isaaclab import IsaacLabConfig

__all__ = ["IsaacLabEnv"]

ACTOR, CRITIC = "policy", "critic"
"""Isaac Lab's names for what the actor and the critic see; tasks whose critic sees the same have the first alone."""
_open: list[IsaacLabEnv] = []
"""The environment of this process, while there is one."""


class IsaacLabEnv:
    """N environments of a task of Isaac Lab. They reset themselves within a step; there is one such in a process."""

    info: EnvInfo

    def __init__(self, config: IsaacLabConfig, *, device: torch.device, seed: int) -> None:
        """Build the scene.

        Raises:
            SpecError: the task, a preset or an override is unknown, or this process has a simulation already.
        """
        if _open:
            hint = "set run.eval_episodes = 0, and score with `slmk eval`"
            raise SpecError([Problem("Isaac Lab has one simulation per process", "run.eval_episodes", hint=hint)])
        self._seed = seed
        self._rendered = config.render
        self._env = make(config, device, seed)
        _open.append(self)
        self._obs: Obs = {}
        """What was acted on last."""
        self._adapter = Adapter(self._env, self._final, device=device, clip_actions=config.clip_actions)
        critic = CRITIC if CRITIC in self._env.single_observation_space.spaces else ACTOR
        self.info = EnvInfo(
            num_envs=config.num_envs,
            observation_spaces=self._adapter.observation_spaces,
            action_space=self._adapter.action_space,
            device=device,
            max_episode_steps=int(self._env.max_episode_length),
            final_obs=bool(getattr(self._env.cfg, "compute_final_obs", False)),
            role_groups=self._adapter.role_groups({"actor": (ACTOR,), "critic": (critic,)}),
        )

    def reset(self, seed: int | None = None) -> Obs:
        """Start N new episodes; what the task draws at startup stays.

        Without a seed the first call takes the constructor's, later ones count on from it.
        """
        if seed is None:
            seed = self._seed
            self._seed += 1
        self._obs = self._adapter.reset(seed % 2**32)
        return self._obs

    def step(self, action: Tensor) -> Step:
        """Act once in every environment: `action` is (N, A)."""
        step = self._adapter.step(action)
        self._obs = step.obs
        return step

    def metrics(self) -> Metrics:
        """Means of what Isaac Lab logged since the last call, ``env/Episode_Reward/…`` and so on, by its own names."""
        return self._adapter.metrics()

    def render(self) -> npt.NDArray[np.uint8] | None:
        """An RGB picture (H, W, 3) from the task's viewer; None without ``render = true``."""
        return np.asarray(self._env.render(), np.uint8) if self._rendered else None

    def close(self) -> None:
        """Close the simulation; Isaac Sim's application goes on until Python ends."""
        if self in _open:
            _open.remove(self)
            self._env.close()

    def state_dict(self) -> dict[str, Any]:
        """The counter that curricula follow. PhysX gives no exact state, so episodes restart after a resume."""
        return {"common_step_counter": int(self._env.common_step_counter), "means": self._adapter.means.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._env.common_step_counter = state["common_step_counter"]
        self._adapter.means.load_state_dict(state["means"])

    def _final(self, obs: Obs, ended: Tensor, extras: Mapping[str, Any]) -> tuple[Obs, Obs]:
        """What a step returned is of the new episodes. Isaac Lab 3 gives the last observation of the old ones.

        Of earlier versions it is not to be had; the observation before it stands in, whose value rsl_rl takes too.
        """
        last = flat(extras["final_obs"]) if self.info.final_obs else self._obs
        return obs, mixed(ended, last, obs)
