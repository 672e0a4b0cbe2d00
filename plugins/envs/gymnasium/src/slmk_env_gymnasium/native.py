"""Environments that are vectorised by their own authors: Gymnasium's CartPole, and any that can restart single rows."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.vector import AutoresetMode, VectorEnv

from slmk_env_gymnasium.layout import Array, Arrays, Layout
from slmk_env_gymnasium.make import or_problem
from slmk_env_gymnasium.simulation import begin

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

    from slmk_env_gymnasium import GymnasiumConfig
    from slmk_env_gymnasium.simulation import Outcome

__all__ = ["CartPole", "Native", "make_native"]


def make_native(spec: EnvSpec, config: GymnasiumConfig) -> tuple[VectorEnv, CartPole | Native] | None:
    """The vectorised environment of an id, or None where the id has none that keeps the contract.

    One that restarts an episode on the step after its end, ignoring the action, cannot be brought to the contract.
    """
    if spec.vector_entry_point is None or spec.additional_wrappers or config.action_repeat > 1 or config.mask:
        return None
    env = or_problem(spec, config, lambda: _make_vec(spec, config))
    if type(env) is CartPoleVectorEnv:
        return env, CartPole(env)
    if env.metadata.get("autoreset_mode") in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED):
        return env, Native(env)
    env.close()
    return None


def _make_vec(spec: EnvSpec, config: GymnasiumConfig) -> VectorEnv:
    options = dict(config.kwargs)
    if config.max_episode_steps:
        options["max_episode_steps"] = config.max_episode_steps
    if config.render:
        options["render_mode"] = "rgb_array"
    return gym.make_vec(copy.deepcopy(spec), config.num_envs, "vector_entry_point", **options)


class CartPole:
    """Gymnasium's `CartPoleVectorEnv`, with its equations in fewer array operations and restarts within the step.

    Observations and ends are equal, bit for bit, to what that class computes.
    """

    exact = True

    def __init__(self, env: CartPoleVectorEnv) -> None:
        self._env: Any = env
        self._force = np.array([-env.force_mag, env.force_mag])
        self._limits = np.array([[env.x_threshold], [env.theta_threshold_radians]])
        self._slope = np.empty((4, env.num_envs))
        self._ones = np.ones(env.num_envs, np.float32)

    def reset(self, seed: int | None) -> Arrays:
        """Start all episodes anew; one generator draws for all environments."""
        return {"obs": np.ascontiguousarray(self._env.reset(seed=seed)[0])}

    def step(self, actions: Array) -> Outcome:
        """Act once in every environment and restart what ended."""
        env = self._env
        self._integrate(self._force[actions])
        env.steps += 1
        beyond = np.abs(env.state[::2]) > self._limits
        terminated = beyond[0] | beyond[1]
        truncated = env.steps >= env.max_episode_steps
        reward = -terminated.astype(np.float32) if env._sutton_barto_reward else self._ones.copy()
        obs = {"obs": env.state.T.astype(np.float32, order="C")}
        done = terminated | truncated
        if not np.count_nonzero(done):
            return obs, obs, reward, terminated, truncated
        return self._restart(done), obs, reward, terminated, truncated & ~terminated

    def get_state(self) -> list[Any]:
        """Positions and velocities (4, N), elapsed steps (N,), generator."""
        env = self._env
        return [{"state": env.state.copy(), "steps": env.steps.copy(), "random": env.np_random.bit_generator.state}]

    def set_state(self, state: list[Any]) -> None:
        """Restore what `get_state` gave."""
        self._env.reset()
        self._env.state[...] = state[0]["state"]
        self._env.steps[...] = state[0]["steps"]
        self._env.np_random.bit_generator.state = state[0]["random"]

    def render(self) -> npt.NDArray[np.uint8] | None:
        """A picture of the first environment."""
        return _first_picture(self._env)

    def close(self) -> None:
        """Close the window, if there is one."""
        self._env.close()

    def _integrate(self, force: Array) -> None:
        """One Euler step of Barto, Sutton & Anderson (1983), in the order of operations of Gymnasium."""
        env, slope = self._env, self._slope
        _, velocity, angle, spin = env.state
        cos, sin = np.cos(angle), np.sin(angle)
        push = (force + env.polemass_length * (spin * spin) * sin) / env.total_mass
        lever = env.length * (4.0 / 3.0 - env.masspole * (cos * cos) / env.total_mass)
        slope[0], slope[2] = velocity, spin
        slope[3] = spin_rate = (env.gravity * sin - cos * push) / lever
        slope[1] = push - env.polemass_length * spin_rate * cos / env.total_mass
        slope *= env.tau
        env.state += slope

    def _restart(self, done: Array) -> Arrays:
        env = self._env
        env.state[:, done] = env.np_random.uniform(env.low, env.high, (4, np.count_nonzero(done)))
        env.steps[done] = 0
        return {"obs": env.state.T.astype(np.float32, order="C")}


class Native:
    """A vectorised environment that restarts rows within the step, or leaves that to its caller."""

    exact = False

    def __init__(self, env: VectorEnv) -> None:
        self._env = env
        self._layout = Layout(env.single_observation_space)
        self._restarts = env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP

    def reset(self, seed: int | None) -> Arrays:
        """Start all episodes anew."""
        return self._layout.copy(begin(self._env, seed))

    def step(self, actions: Array) -> Outcome:
        """Act once in every environment and restart what ended."""
        value, reward, over, cut, info = self._env.step(actions)
        obs, reward, terminated = self._layout.copy(value), np.array(reward, np.float32), np.array(over, np.bool_)
        truncated = cut & ~terminated
        done = terminated | truncated
        if not np.count_nonzero(done):
            return obs, obs, reward, terminated, truncated
        if self._restarts:
            return obs, self._with_final(obs, info["final_obs"], done), reward, terminated, truncated
        return self._layout.copy(self._env.reset(options={"reset_mask": done})[0]), obs, reward, terminated, truncated

    def get_state(self) -> list[Any]:
        """Nothing: the state of a foreign class is not known."""
        return []

    def set_state(self, state: list[Any]) -> None:
        """Nothing to restore."""

    def render(self) -> npt.NDArray[np.uint8] | None:
        """A picture of the first environment."""
        return _first_picture(self._env)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _with_final(self, obs: Arrays, final: Any, done: Array) -> Arrays:
        """`obs` with the ended rows replaced; `final` is batched as observations are, or one object per row."""
        if isinstance(final, dict):
            values = self._layout.copy(final)
            return {name: _choose(done, values[name], array) for name, array in obs.items()}
        merged = {name: array.copy() for name, array in obs.items()}
        for row in np.flatnonzero(done).tolist():
            self._layout.write(merged, row, final[row])
        return merged


def _choose(mask: Array, yes: Array, no: Array) -> Array:
    return np.where(mask.reshape(-1, *(1,) * (no.ndim - 1)), yes, no)


def _first_picture(env: VectorEnv) -> npt.NDArray[np.uint8] | None:
    pictures = env.render() if env.render_mode else None
    return None if pictures is None else np.asarray(pictures[0], np.uint8)
