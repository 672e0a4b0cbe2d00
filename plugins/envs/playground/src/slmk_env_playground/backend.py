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
from slmk.toolbox.room import require_memory
from slmk_env_playground.arrays import jax_device, leaves_of, to_jax, to_torch, with_leaves
from slmk_env_playground.film import Film
from slmk_env_playground.make import make
from slmk_env_playground.overflow import warn_of_overflow
from slmk_env_playground.simulation import Carry, groups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slmk_env_playground import PlaygroundConfig

__all__ = ["PlaygroundEnv"]

ACTOR, CRITIC = "state", "privileged_state"
"""Groups of environments that show the critic more than the actor."""
TOLERATED = 10
"""Lost episodes that never stop a run, however short it is."""
CHECK_EVERY = 64
"""Vector steps between two looks at how many were lost: each waits for the device."""
_log = structlog.get_logger()


class PlaygroundEnv:
    """N environments of MuJoCo Playground, brought to the contract of `slmk.batch.Step`."""

    info: EnvInfo

    def __init__(self, config: PlaygroundConfig, *, device: torch.device, seed: int) -> None:
        """Load the environment; it is compiled at the first `reset` and `step`.

        Raises:
            SpecError: the id or an override is unknown, JAX has no such device, or there is no room for so many.
        """
        self._config = config
        self._device = jax_device(device)
        self._simulation = make(config, device)
        self._seed = seed
        self._film: Film | None = None
        self._carry: Carry | None = None
        self._steps = 0
        """Vector steps since `reset`."""
        self._checked: dict[str, Any] = {}
        """The state before `_actions`, from which they can be taken again."""
        self._actions: list[Tensor] = []
        """What was done since the last look at `Carry.lost`."""
        self._worth_a_word = 1
        """Lost episodes at which to say so next."""
        self._overflow = 0
        """What physics had no room for so far, see `warn_of_overflow`."""
        limit = self._simulation.limit
        self._renew_every = max(1, round(config.pool_episodes * limit / self._simulation.chunks))
        require_memory(config.num_envs, self._simulation.nbytes / config.num_envs, device)
        shapes = groups(self._simulation.shapes.obs)
        self.info = EnvInfo(
            num_envs=config.num_envs,
            observation_spaces={name: spaces.Box(-np.inf, np.inf, x.shape[1:]) for name, x in shapes.items()},
            action_space=spaces.Box(-1.0, 1.0, (self._simulation.env.action_size,)),
            device=device,
            max_episode_steps=limit,
            exact_state=True,
            role_groups={"actor": (ACTOR,), "critic": (CRITIC,)} if {ACTOR, CRITIC} <= set(shapes) else {},
        )

    def reset(self, seed: int | None = None) -> Obs:
        """Start N new episodes. Without a seed the first call takes the constructor's, later ones count on from it.

        Raises:
            RunError: see `step`; the last steps before are looked at, too.
        """
        if seed is None:
            seed = self._seed
            self._seed += 1
        if self._actions:
            self._check()
        self._steps, self._actions = 0, []
        self._carry = carry = self._begin(seed % 2**32)
        # A copy, since the first step takes the memory of the state.
        return {name: to_torch(jnp.copy(x)) for name, x in groups(self._simulation.state_of(carry).obs).items()}

    def step(self, action: Tensor) -> Step:
        """Act once in every environment: `action` is (N, A).

        Raises:
            RunError: too many episodes were lost to numbers that are not finite.
        """
        assert self._carry is not None, "call reset first"
        if not self._actions:
            self._checked = self._state_of(self._simulation.copy(self._carry))
        self._actions.append(action.to(torch.float32, copy=True))
        actions = to_jax(self._actions[-1])
        if not self._simulation.full_reset and self._steps % self._renew_every == self._renew_every - 1:
            with jax.default_device(self._device):
                self._carry = self._simulation.renew(
                    self._carry, self._steps // self._renew_every % self._simulation.chunks
                )
        self._carry, step = self._simulation.step(self._carry, actions)
        self._steps += 1
        if len(self._actions) == CHECK_EVERY:
            self._check()
        return step

    def render(self) -> npt.NDArray[np.uint8] | None:
        """An RGB picture (H, W, 3) of the first environment; None without ``render = true``.

        Raises:
            SpecError: there is no such camera.
            RunError: there is no library that draws.
        """
        if not self._config.render or self._carry is None:
            return None
        if self._film is None:
            self._film = Film(self._simulation.env.mj_model, self._config.camera)
        return self._film.picture(self._simulation.state_of(self._carry, 0).data)

    def close(self) -> None:
        """Let go of the state; the compiled simulation stays for others of the same options."""
        self._carry = None
        if self._film is not None:
            self._film.close()
            self._film = None

    def state_dict(self) -> dict[str, Any]:
        """The whole simulation, the pool of new episodes and the random key."""
        state = self._state_of(self._carry)
        return {**state, "carry": [] if self._carry is None else leaves_of(self._carry)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            CheckpointError: it is the state of other environments.
        """
        self._steps, self._seed, self._actions = int(state["steps"]), int(state["seed"]), []
        if not state["carry"]:
            self._carry = None
            return
        like = self._carry or self._begin(0)
        self._carry = with_leaves(like, state["carry"])

    def _begin(self, seed: int) -> Carry:
        """New episodes, said to be on the device for good: to JAX, what only happens to be there is another type, and
        `step` would be compiled for both.
        """
        with jax.default_device(self._device):
            return jax.device_put(self._simulation.begin(seed), self._device)

    def _state_of(self, carry: Carry | None) -> dict[str, Any]:
        """What `state_dict` is made of, without copying anything."""
        return {"carry": carry, "steps": self._steps, "seed": self._seed}

    def _check(self) -> None:
        """Look at how many episodes were lost: say so now and then, and stop where it is too much."""
        assert self._carry is not None
        self._overflow = warn_of_overflow(self._simulation.state_of(self._carry).data, self._overflow)
        lost = int(self._carry.lost)
        share = lost / (self._steps * self.info.num_envs)
        if lost > TOLERATED and share > self._config.nan_limit:
            raise RunError(
                f"{lost} episodes were lost to numbers that are not finite, {share:.2g} of all transitions; "
                f"env.nan_limit allows {self._config.nan_limit:g}. To take the last steps again: {self._dump()}"
            )
        if lost >= self._worth_a_word:
            self._worth_a_word = 10 * lost
            _log.warning("episodes cut: numbers that are not finite", so_far=lost, share=share)
        self._actions = []

    def _dump(self) -> Path:
        """A file with a ``state`` for `load_state_dict`, and the ``actions`` (K, N, A) that followed it."""
        path = Path(tempfile.mkdtemp(prefix="slmk-nan-")) / f"{self._config.id}.pt"
        state = {**self._checked, "carry": leaves_of(self._checked["carry"])}
        torch.save({"state": state, "actions": torch.stack(self._actions).cpu()}, path)
        return path
