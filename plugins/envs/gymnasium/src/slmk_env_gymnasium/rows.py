"""Environments stepped one after the other in this process, without the generality of `SyncVectorEnv`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from slmk_env_gymnasium.simulation import begin
from slmk_env_gymnasium.snapshot import is_exact, restore, snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    import gymnasium as gym

    from slmk_env_gymnasium.layout import Array, Arrays, Layout
    from slmk_env_gymnasium.simulation import Outcome

__all__ = ["Rows"]


class Rows:
    """A list of environments, row i of every array being environment i."""

    def __init__(self, envs: Sequence[gym.Env[Any, Any]], layout: Layout) -> None:
        self._envs = list(envs)
        self._layout = layout
        self.exact = is_exact(self._envs[0])

    def reset(self, seed: int | None) -> Arrays:
        """Start all episodes anew; environment i is seeded with ``seed + i``, as in Gymnasium."""
        obs = self._layout.empty(len(self._envs))
        for row, env in enumerate(self._envs):
            self._layout.write(obs, row, begin(env, None if seed is None else seed + row))
        return obs

    def step(self, actions: Array) -> Outcome:
        """Act once in every environment and restart what ended."""
        count = len(self._envs)
        obs, write, ended = self._layout.empty(count), self._layout.write, []
        reward, terminated, truncated = (
            np.empty(count, np.float32),
            np.empty(count, np.bool_),
            np.empty(count, np.bool_),
        )
        for row, env in enumerate(self._envs):
            value, reward[row], over, cut, _ = env.step(actions[row])
            write(obs, row, value)
            terminated[row], truncated[row] = over, cut and not over
            if over or cut:
                ended.append(row)
        return obs, self._restart(ended, obs) if ended else obs, reward, terminated, truncated

    def get_state(self) -> list[Any]:
        """The state of each environment."""
        return [snapshot(env) for env in self._envs]

    def set_state(self, state: list[Any]) -> None:
        """Restore each environment."""
        for env, values in zip(self._envs, state, strict=True):
            restore(env, values)

    def render(self) -> npt.NDArray[np.uint8] | None:
        """A picture of the first environment."""
        picture = self._envs[0].render() if self._envs[0].render_mode else None
        return None if picture is None else np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            env.close()

    def _restart(self, ended: list[int], obs: Arrays) -> Arrays:
        """Write first observations of new episodes into `obs`, and return a copy of it as it was before."""
        final = {name: array.copy() for name, array in obs.items()}
        for row in ended:
            self._layout.write(obs, row, self._envs[row].reset()[0])
        return final
