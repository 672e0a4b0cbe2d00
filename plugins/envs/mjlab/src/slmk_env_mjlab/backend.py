"""The backend: one simulation of mjlab as N environments of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slmk.batch import Obs, Step
from slmk.env_info import EnvInfo
from slmk.protocols import Metrics
from slmk_env_managed import Adapter, flat, mixed
from slmk_env_mjlab.make import make, role_groups, time_limit
from slmk_env_mjlab.snapshot import restore, snapshot
from slmk_env_mjlab.streams import Streams

if TYPE_CHECKING:
    from slmk_env_mjlab import MjlabConfig

__all__ = ["MjlabEnv"]

SCENE_SEED = 0
"""What is drawn while a scene is built, such as terrain, is the same for all seeds: it is in no checkpoint."""


class MjlabEnv:
    """N environments of a task of mjlab, with random streams of their own."""

    info: EnvInfo

    def __init__(self, config: MjlabConfig, *, device: torch.device, seed: int) -> None:
        """Build the scene. Warp compiles what the task needs when it is first used on a machine: minutes on a CPU.

        Raises:
            SpecError: the id or an override is unknown, mjlab refuses a value, or there is no room for so many.
        """
        self._seed = seed
        self._started = False
        self._streams = Streams(device)
        with self._streams:
            self._streams.seed(SCENE_SEED)
            self._env = make(config, device)
            self._adapter = Adapter(self._env, self._restart, device=device, clip_actions=config.clip_actions)
        self.info = EnvInfo(
            num_envs=config.num_envs,
            observation_spaces=self._adapter.observation_spaces,
            action_space=self._adapter.action_space,
            device=device,
            max_episode_steps=time_limit(self._env),
            exact_state=True,
            role_groups=self._adapter.role_groups(role_groups(config.id)),
        )

    def reset(self, seed: int | None = None) -> Obs:
        """Start N new episodes, with what the task draws at startup drawn anew; curricula stay where they are.

        Without a seed the first call takes the constructor's, later ones count on from it.
        """
        if seed is None:
            seed = self._seed
            self._seed += 1
        self._started = True
        with self._streams:
            self._streams.seed(seed)
            if "startup" in self._env.event_manager.available_modes:
                self._env.event_manager.apply(mode="startup")
            return self._adapter.reset()

    def step(self, action: Tensor) -> Step:
        """Act once in every environment: `action` is (N, A)."""
        with self._streams:
            return self._adapter.step(action)

    def metrics(self) -> Metrics:
        """Means of what mjlab logged since the last call, ``env/Episode_Reward/…`` and so on, by mjlab's names."""
        return self._adapter.metrics()

    def render(self) -> npt.NDArray[np.uint8] | None:
        """An RGB picture (H, W, 3) from the task's own camera; None without ``render = true``."""
        with self._streams:
            picture = self._env.render()
        return None if picture is None else np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Free the renderer."""
        self._env.close()

    def state_dict(self) -> dict[str, Any]:
        """The simulation, the counters of its curricula, the random streams, and sums of what was logged."""
        return {
            "seed": self._seed,
            "started": self._started,
            "simulation": snapshot(self._env) if self._started else {},
            "streams": self._streams.state_dict(),
            "means": self._adapter.means.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            CheckpointError: it is the state of another task.
        """
        if state["started"]:
            if not self._started:
                self.reset()
            if state["simulation"]["objects"]["common_step_counter"] and not self._env.common_step_counter:
                # Sensors and terms may make what they remember when a step first reads or calls them.
                self.step(torch.zeros(self.info.num_envs, *self.info.action_space.shape or (), device=self.info.device))
            restore(self._env, state["simulation"])
        self._seed, self._started = int(state["seed"]), bool(state["started"])
        self._streams.load_state_dict(state["streams"])
        self._adapter.means.load_state_dict(state["means"])

    def _restart(self, obs: Obs, ended: Tensor, extras: Mapping[str, Any]) -> tuple[Obs, Obs]:
        """The simulation does not reset by itself (``auto_reset = False``), so what a step returned is final."""
        fresh = flat(self._env.reset(env_ids=ended.nonzero().squeeze(-1))[0])
        # Noise and delays of the other environments belong to the step: their rows stay those that it returned.
        return mixed(ended, fresh, obs), obs
