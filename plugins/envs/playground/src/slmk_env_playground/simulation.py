"""N environments as pure functions of their state: step, restart, and a pool of states to restart from.

Playground's environments are functional and know neither batches nor episode ends. What is added here is that of
``wrap_for_brax_training``, but for three things: what an episode ended with is kept (`Outcome.final_obs`), a new
episode begins with a state of its own, its ``info`` included, and a time limit is no termination.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jax.typing import ArrayLike
    from mujoco_playground import MjxEnv, State

__all__ = ["Carry", "Outcome", "Simulation"]

CHUNKS = 10
"""Parts in which the pool is renewed."""
OBS = "state"
"""The name of the only observation group of environments that do not name theirs; other environments call it so."""


class Carry(NamedTuple):
    """All that changes: the state of N environments and what it takes to restart them."""

    state: State
    steps: jax.Array
    """Steps of the policy in each running episode, (N,) int32."""
    pool: State | None
    """P states for new episodes; P is N rounded up to a multiple of `CHUNKS`. Within a compiled step there is none."""
    key: jax.Array
    lost: jax.Array
    """Episodes cut so far since something was not finite, ()."""


class Outcome(NamedTuple):
    """What one step gives; arrays (N, …)."""

    obs: Mapping[str, jax.Array]
    final_obs: Mapping[str, jax.Array]
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array


class Simulation:
    """The environment and how to run it; what it does is compiled once for all that share it."""

    def __init__(
        self,
        env: MjxEnv,
        num_envs: int,
        limit: int,
        action_repeat: int = 1,
        full_reset: bool = False,
        randomizer: Callable[..., Any] | None = None,
    ) -> None:
        """
        Args:
            env: of Playground; it is left as it is.
            num_envs: N.
            limit: steps of the policy after which an episode is truncated.
            action_repeat: steps of `env` for each of the policy.
            full_reset: compute new episodes in every step, rather than take them from the pool.
            randomizer: makes physics for each environment of those of `env`, as Playground's domain randomisers do.
        """
        self.env = env
        self.num_envs = num_envs
        self.limit = limit
        self.full_reset = full_reset
        self.chunk = -(-num_envs // CHUNKS)
        """States of the pool that are computed at once."""
        self.pool_size = self.chunk * CHUNKS
        """P."""
        self._action_repeat = action_repeat
        # The physics of an environment are its own for good, whatever the seed of a run.
        keys = jax.random.split(jax.random.PRNGKey(0), self.pool_size)
        self._models = None if randomizer is None else randomizer(env.mjx_model, keys)
        self._reset = jax.jit(lambda keys, start: self._batched("reset", keys, start=start))
        self._begin, self._put = jax.jit(self._begin_from), jax.jit(self._put_at)
        self._stepped = jax.jit(self._step)

    def begin(self, seed: int) -> Carry:
        """New episodes everywhere, from a pool that is new as well."""
        key, first, *keys = jax.random.split(jax.random.PRNGKey(seed), 2 + CHUNKS)
        return self._begin([self._reset_part(part, each) for part, each in enumerate(keys)], key, first)

    def step(self, carry: Carry, action: ArrayLike) -> tuple[Carry, Outcome]:
        """One step of every environment by actions (N, A)."""
        # The pool is handed in only: what a compiled function hands out costs time, even where nothing changes it.
        after, outcome = self._stepped(carry._replace(pool=None), carry.pool, action)
        return after._replace(pool=carry.pool), outcome

    def renew(self, carry: Carry, part: int) -> Carry:
        """`carry` with one of the `CHUNKS` parts of its pool computed anew."""
        key, own = jax.random.split(carry.key)
        return self._put(carry._replace(key=key), self._reset_part(part, own), part * self.chunk)

    def _reset_part(self, part: int, key: jax.Array) -> State:
        return self._reset(jax.random.split(key, self.chunk), part * self.chunk)

    def _begin_from(self, parts: list[State], key: jax.Array, first: jax.Array) -> Carry:
        pool = jax.tree.map(lambda *x: jnp.concatenate(x) if x[0].ndim else x[0], *parts)
        state = self._with_keys(self._rows(pool, jnp.arange(self.num_envs)), first)
        return Carry(state, jnp.zeros(self.num_envs, jnp.int32), pool, key, jnp.zeros((), jnp.int32))

    @staticmethod
    def _put_at(carry: Carry, states: State, start: jax.Array) -> Carry:
        def put(pool: jax.Array, new: jax.Array) -> jax.Array:
            if not pool.ndim:
                return pool
            return jax.lax.dynamic_update_slice_in_dim(pool, new, start, 0)

        return carry._replace(pool=jax.tree.map(put, carry.pool, states))

    def _step(self, carry: Carry, pool: State, action: jax.Array) -> tuple[Carry, Outcome]:
        before = carry.state
        state, reward = self._advance(before, jnp.clip(action, -1.0, 1.0))
        steps = carry.steps + 1
        obs = groups(state.obs)
        lost = ~finite(obs, reward)
        final_obs = {name: self._where(lost, groups(before.obs)[name], x) for name, x in obs.items()}
        terminated = (state.done > 0.5) & ~lost
        truncated = ((steps >= self.limit) | lost) & ~terminated
        key, own, shift = jax.random.split(carry.key, 3)
        ended = terminated | truncated
        restart = partial(self._restart, pool, own, shift, ended)
        state = jax.lax.cond(ended.any(), restart, lambda state: state, state)
        steps = jnp.where(ended, 0, steps)
        reward = jnp.where(lost, 0.0, reward)
        outcome = Outcome(groups(state.obs), final_obs, reward, terminated, truncated)
        return Carry(state, steps, None, key, carry.lost + lost.sum()), outcome

    def _advance(self, state: State, action: jax.Array) -> tuple[State, jax.Array]:
        """The state after `action_repeat` steps, and the sum of their rewards up to the end of the episode."""
        stepped = self._batched("step", state, action)
        reward = stepped.reward
        for _ in range(self._action_repeat - 1):
            over = stepped.done > 0.5
            further = self._batched("step", stepped, action)
            reward = reward + jnp.where(over, 0.0, further.reward)
            stepped = jax.tree.map(partial(self._where, over), stepped, further)
        return stepped, reward

    def _restart(self, pool: State, own: jax.Array, shift: jax.Array, ended: jax.Array, state: State) -> State:
        """`state` with new episodes where `ended`."""
        if self.full_reset:
            fresh = self._batched("reset", jax.random.split(own, self.num_envs))
        else:
            # Neighbours in the pool for neighbours here: no two environments get the same state at once. Physics of
            # their own allow each environment only its own.
            place = jnp.arange(self.num_envs)
            if self._models is None:
                place = (place + jax.random.randint(shift, (), 0, self.pool_size)) % self.pool_size
            fresh = self._with_keys(self._rows(pool, place), own)
        return jax.tree.map(partial(self._where, ended), fresh, state)

    def _with_keys(self, state: State, key: jax.Array) -> State:
        """`state` with random streams of its own, since environments may share where they begin but not their noise."""
        if "rng" not in state.info:
            return state
        return state.replace(info=state.info | {"rng": jax.random.split(key, self.num_envs)})

    def _rows(self, tree: Any, rows: jax.Array) -> Any:
        return jax.tree.map(lambda x: x[rows] if x.ndim and len(x) == self.pool_size else x, tree)

    def _where(self, mask: jax.Array, yes: jax.Array, no: jax.Array) -> jax.Array:
        """`yes` in the rows of the mask (N,). What has no such rows, as contacts of Warp's physics, is left alone."""
        if not no.ndim or len(no) != self.num_envs:
            return no
        return jnp.where(mask.reshape(-1, *[1] * (no.ndim - 1)), yes, no)

    def _batched(self, method: str, *arguments: Any, start: Any = 0) -> State:
        """A method of the environment over rows of arguments, each with the physics of its environment.

        Args:
            method: ``reset`` or ``step``.
            arguments: trees of (M, …).
            start: the environment of the first row.
        """
        if self._models is None:
            return jax.vmap(getattr(self.env, method))(*arguments)
        models, axes = self._models
        count = len(jax.tree.leaves(arguments)[0])

        def rows(axis: int | None, x: Any) -> Any:
            return x if axis is None else jax.lax.dynamic_slice_in_dim(x, start, count, axis)

        def call(model: Any, *arguments: Any) -> State:
            with physics(self.env, model):
                return getattr(self.env, method)(*arguments)

        some = jax.tree.map(rows, axes, models, is_leaf=lambda axis: axis is None)
        return jax.vmap(call, in_axes=(axes, *[0] * len(arguments)))(some, *arguments)


def groups(obs: Any) -> dict[str, jax.Array]:
    """Observations by group, whether or not the environment names them."""
    return dict(obs) if isinstance(obs, dict) or hasattr(obs, "items") else {OBS: obs}


def finite(obs: Mapping[str, jax.Array], reward: jax.Array) -> jax.Array:
    """Where everything that an algorithm would see is finite, (N,)."""
    good = jnp.isfinite(reward)
    for x in obs.values():
        good &= jnp.isfinite(x.reshape(len(x), -1)).all(-1)
    return good


@contextmanager
def physics(env: MjxEnv, model: Any) -> Iterator[None]:
    """While a function of `env` is traced, give it another model; Playground's own wrapper does it like this."""
    inner = env.unwrapped
    before = inner._mjx_model
    inner._mjx_model = model
    try:
        yield
    finally:
        inner._mjx_model = before
