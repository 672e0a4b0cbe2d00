"""The backend: one simulation in JAX, seen as N environments of torch."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import structlog
import torch
from gymnasium import spaces
from torch import Tensor

from slmk.batch import Obs, Step
from slmk.env_info import EnvInfo
from slmk.errors import RunError
from slmk_env_playground.arrays import jax_device, leaves_of, to_jax, to_torch, with_leaves
from slmk_env_playground.make import make
from slmk_env_playground.simulation import CHUNKS, Carry, groups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slmk_env_playground import PlaygroundConfig

__all__ = ["PlaygroundEnv"]

ACTOR, CRITIC = "state", "privileged_state"
"""Groups of environments that show the critic more than the actor."""
TOLERATED = 10
"""Lost episodes that never stop a run, however short it is."""
_log = structlog.get_logger()


class PlaygroundEnv:
    """N environments of MuJoCo Playground, brought to the contract of `slmk.batch.Step`."""

    info: EnvInfo

    def __init__(self, config: PlaygroundConfig, *, device: torch.device, seed: int) -> None:
        """Load the environment; it is compiled at the first `reset` and `step`.

        Raises:
            SpecError: the id or an override is unknown, or JAX has no such device.
        """
        self._config = config
        self._device = jax_device(device)
        self._simulation = make(config, self._device)
        self._seed = seed
        self._carry: Carry | None = None
        self._steps = 0
        """Vector steps since `reset`."""
        self._lost = 0
        """Episodes that were cut because something was not finite."""
        limit = self._simulation.limit
        self._renew_every = max(1, round(config.pool_episodes * limit / CHUNKS))
        env = self._simulation.env
        shapes = groups(jax.eval_shape(env.reset, jax.random.PRNGKey(0)).obs)
        self.info = EnvInfo(
            num_envs=config.num_envs,
            observation_spaces={name: spaces.Box(-np.inf, np.inf, x.shape) for name, x in shapes.items()},
            action_space=spaces.Box(-1.0, 1.0, (env.action_size,)),
            device=device,
            max_episode_steps=limit,
            exact_state=True,
            role_groups={"actor": (ACTOR,), "critic": (CRITIC,)} if {ACTOR, CRITIC} <= set(shapes) else {},
        )

    def reset(self, seed: int | None = None) -> Obs:
        """Start N new episodes. Without a seed the first call takes the constructor's, later ones count on from it."""
        if seed is None:
            seed = self._seed
            self._seed += 1
        self._steps = self._lost = 0
        with jax.default_device(self._device):
            self._carry = self._simulation.begin(seed % 2**32)
        return {name: to_torch(x) for name, x in groups(self._carry.state.obs).items()}

    def step(self, action: Tensor) -> Step:
        """Act once in every environment: `action` is (N, A).

        Raises:
            RunError: too many episodes were lost to numbers that are not finite.
        """
        assert self._carry is not None, "call reset first"
        actions, before = to_jax(action.float()), self._carry
        with jax.default_device(self._device):
            if not self._simulation.full_reset and self._steps % self._renew_every == self._renew_every - 1:
                part = self._steps // self._renew_every % CHUNKS
                before = self._simulation.renew(before, part)
            self._carry, outcome = self._simulation.step(before, actions)
        self._steps += 1
        lost = to_torch(outcome.lost)
        if lost.any():
            self._quarantine(before, actions, lost)
        reward = to_torch(outcome.reward)
        return Step(
            {name: to_torch(x) for name, x in outcome.obs.items()},
            {name: to_torch(x) for name, x in outcome.final_obs.items()},
            reward * self._config.reward_scale if self._config.reward_scale != 1.0 else reward,
            to_torch(outcome.terminated),
            to_torch(outcome.truncated),
        )

    def render(self) -> npt.NDArray[np.uint8] | None:
        """An RGB picture (H, W, 3) of the first environment; None without ``render = true``."""
        if not self._config.render or self._carry is None:
            return None
        first = jax.tree.map(lambda x: x[0] if x.ndim and len(x) == self.info.num_envs else x, self._carry.state)
        (picture,) = self._simulation.env.render([first], camera=self._config.camera or None)
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """Let go of the state; the compiled simulation stays for others of the same options."""
        self._carry = None

    def state_dict(self) -> dict[str, Any]:
        """The whole simulation, the pool of new episodes and the random key."""
        carry = [] if self._carry is None else leaves_of(self._carry)
        return {"carry": carry, "steps": self._steps, "lost": self._lost, "seed": self._seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            CheckpointError: it is the state of other environments.
        """
        self._steps, self._lost, self._seed = (int(state[name]) for name in ("steps", "lost", "seed"))
        if not state["carry"]:
            self._carry = None
            return
        with jax.default_device(self._device):
            like = self._carry or self._simulation.begin(0)
            self._carry = with_leaves(like, state["carry"])

    def _quarantine(self, before: Carry, actions: jax.Array, lost: Tensor) -> None:
        """Count what was lost, say so now and then, and stop where it is too much."""
        count = int(lost.sum())
        self._lost += count
        share = self._lost / (self._steps * self.info.num_envs)
        if self._lost > TOLERATED and share > self._config.nan_limit:
            place = self._dump(before, actions, lost)
            raise RunError(
                f"{self._lost} episodes were lost to numbers that are not finite, {share:.2g} of all transitions; "
                f"env.nan_limit allows {self._config.nan_limit:g}. The last of these steps can be repeated from {place}"
            )
        if (self._lost - count) < _round_up(self._lost - count + 1) <= self._lost:
            _log.warning("episodes cut: numbers that are not finite", so_far=self._lost, share=share)

    def _dump(self, before: Carry, actions: jax.Array, lost: Tensor) -> Path:
        """The states before the step in which environments were lost, and what was done in them."""
        rows = jnp.asarray(lost.cpu().numpy()).nonzero()[0]
        some = jax.tree.map(lambda x: x[rows] if x.ndim and len(x) == len(lost) else x, before.state)
        path = Path(tempfile.mkdtemp(prefix="slmk-nan-")) / f"{self._config.id}.npz"
        leaves = {f"leaf_{index}": np.asarray(x) for index, x in enumerate(jax.tree.leaves(some))}
        np.savez(path, action=np.asarray(actions[rows]), **leaves)
        return path


def _round_up(count: int) -> int:
    """The next power of ten, so that ever rarer counts are worth a word."""
    power = 1
    while power < count:
        power *= 10
    return power
