"""N environments as pure functions of their state: step, restart, and a pool of states to restart from.

Playground's environments are functional and know neither batches nor episode ends. What is added here is that of
``wrap_for_brax_training``, but for three things: what an episode ended with is kept (`Step.final_obs`), a new
episode begins with a state of its own, its ``info`` included, and a time limit is no termination.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from slmk.batch import Step
from slmk_env_playground.arrays import Packing, to_torch
from slmk_env_playground.physics import Physics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jax.typing import ArrayLike
    from mujoco_playground import MjxEnv, State

__all__ = ["Carry", "Simulation"]

CHUNKS = 10
"""Parts in which the pool is renewed, where nothing else is said."""
CHOICES = 4
"""States of the pool for each environment that has physics of its own, since it cannot begin at those of others."""
OBS = "state"
"""The name of the only observation group of environments that do not name theirs; other environments call it so."""


Leaves = list[jax.Array]
"""The arrays of a `State` in JAX's order. Dozens of them go through each step, and trees of Python objects are slow."""


class Carry(NamedTuple):
    """The state of N environments and what it takes to go on with them and to restart them."""

    state: Leaves
    """The simulator's state, by `Simulation.state_of`. A step takes over the memory of the one that it is given."""
    steps: jax.Array
    """Steps of the policy in each running episode, (N,) int32."""
    pool: Leaves
    """P states for new episodes, of `Simulation.pool_size`."""
    key: jax.Array
    lost: jax.Array
    """Episodes cut so far since something was not finite, ()."""
    physics: Leaves
    """What each environment has of its own for good, of `Physics`; empty where all have the same."""


class Ends(NamedTuple):
    """Which episodes are over; both (N,) bool."""

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
        chunks: int = CHUNKS,
    ) -> None:
        """
        Args:
            env: of Playground; it is left as it is.
            num_envs: N.
            limit: steps of the policy after which an episode is truncated.
            action_repeat: steps of `env` for each of the policy.
            full_reset: compute new episodes in every step, rather than take them from the pool.
            randomizer: makes physics for each environment of those of `env`, as Playground's domain randomisers do.
            chunks: parts in which the pool is renewed; 1 for environments that can only be reset together.
        """
        self.env = env
        self.num_envs = num_envs
        self.limit = limit
        self.full_reset = full_reset
        self.chunk = -(-num_envs // chunks)
        """States of the pool that are computed at once."""
        self._rows_of_choice = self.chunk * chunks
        """N rounded up to whole chunks: in the pool, states of one and the same environment lie so far apart."""
        self._choices = 1 if randomizer is None else CHOICES
        self.chunks = chunks * self._choices
        """Parts in which the pool is renewed."""
        self.pool_size = self._rows_of_choice * self._choices
        """States in the pool, P."""
        self._action_repeat = action_repeat
        self._physics = None if randomizer is None else Physics(env, randomizer, self._rows_of_choice)
        keys = jax.ShapeDtypeStruct((num_envs, 2), np.uint32)
        one = jax.ShapeDtypeStruct((2,), np.uint32)
        self.shapes = jax.eval_shape(jax.vmap(env.reset), keys)
        """The shapes and types of a state."""
        self._tree = jax.tree.structure(self.shapes)
        self._rowed = rowed(self.shapes, jax.eval_shape(env.reset, one))
        obs = groups(self.shapes.obs)
        self._seen, self._outcome = Packing(obs), Packing((obs, self.shapes.reward))
        self._reset = jax.jit(self._reset_rows)
        self._begin, self._put, self._copy = jax.jit(self._begin_from), jax.jit(self._put_at), jax.jit(copied)
        # Memory that is handed over need not be allocated anew: a tenth of a step of 64 cart-poles.
        self._stepped = jax.jit(self._step, donate_argnums=(0, 1, 2))
        self._restarted = jax.jit(self._restart, donate_argnums=(0, 1, 2))

    @property
    def nbytes(self) -> int:
        """Bytes of memory that all environments take, about; nothing has been allocated yet."""
        states = 3 + self._choices  # Its own, that of the last check, and those of the pool, of which one is renewed.
        return states * bytes_of(self.shapes) + bytes_of(self._physics and self._physics.shapes)

    def begin(self, seed: int) -> Carry:
        """New episodes everywhere, from a pool that is new as well."""
        self._nowhere = to_torch(jnp.zeros(self.num_envs, bool))
        key, first, *keys = jax.random.split(jax.random.PRNGKey(seed), 2 + self.chunks)
        physics: Leaves = []
        if self._physics is not None:
            key, own = jax.random.split(key)
            physics = self._physics.draw(own)
        pool = [self._reset_part(physics, part, each) for part, each in enumerate(keys)]
        return Carry(*self._begin(pool, key, first), physics)

    def step(self, carry: Carry, action: ArrayLike) -> tuple[Carry, Step]:
        """One step of every environment by actions (N, A); `carry` must not be used any more."""
        physics = carry.physics
        state, steps, lost, some, ends, outcome = self._stepped(carry.state, carry.steps, carry.lost, action, physics)
        final_obs, reward = self._outcome.to_torch(outcome)
        if not np.asarray(some):
            step = Step(final_obs, final_obs, reward, self._nowhere, self._nowhere)
            return Carry(state, steps, carry.pool, carry.key, lost, physics), step
        state, steps, key, seen = self._restarted(state, steps, carry.key, carry.pool, ends, physics)
        obs = self._seen.to_torch(seen)
        step = Step(obs, final_obs, reward, to_torch(ends.terminated), to_torch(ends.truncated))
        return Carry(state, steps, carry.pool, key, lost, physics), step

    def renew(self, carry: Carry, part: int) -> Carry:
        """`carry` with one of the `chunks` parts of its pool computed anew."""
        key, own = jax.random.split(carry.key)
        states = self._reset_part(carry.physics, part, own)
        return carry._replace(key=key, pool=self._put(carry.pool, states, part * self.chunk))

    def state_of(self, carry: Carry, row: int | None = None) -> State:
        """The state as Playground knows it: arrays (N, …), or one environment's."""
        leaves = carry.state if row is None else self._rows(carry.state, row)
        return jax.tree.unflatten(self._tree, leaves)

    def copy(self, carry: Carry) -> Carry:
        """The same, to be kept while `carry` goes on; the pool and physics, which steps leave alone, are no copies."""
        kept = carry._replace(pool=[], physics=[])
        return Carry(*self._copy(kept))._replace(pool=carry.pool, physics=carry.physics)

    def _reset_part(self, physics: Leaves, part: int, key: jax.Array) -> Leaves:
        return self._reset(physics, jax.random.split(key, self.chunk), part * self.chunk % self._rows_of_choice)

    def _reset_rows(self, physics: Leaves, keys: jax.Array, start: Any = 0) -> Leaves:
        return jax.tree.leaves(self._batched("reset", physics, keys, start=start))

    def _begin_from(
        self, parts: list[Leaves], key: jax.Array, first: jax.Array
    ) -> tuple[Leaves, jax.Array, Leaves, jax.Array, jax.Array]:
        """What a `Carry` has before any step, but for the physics."""
        pool = [jnp.concatenate(x) if each else x[0] for each, *x in zip(self._rowed, *parts, strict=True)]
        # Copies, since some arrays have no rows: those that are handed over must not be the pool's.
        state = copied(self._with_keys(self._rows(pool, jnp.arange(self.num_envs)), first))
        return state, jnp.zeros(self.num_envs, jnp.int32), pool, key, jnp.zeros((), jnp.int32)

    def _put_at(self, pool: Leaves, states: Leaves, start: jax.Array) -> Leaves:
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return [put(old, new) if each else old for each, old, new in zip(self._rowed, pool, states, strict=True)]

    def _step(
        self, leaves: Leaves, steps: jax.Array, lost_before: jax.Array, action: jax.Array, physics: Leaves
    ) -> tuple[Leaves, jax.Array, jax.Array, jax.Array, Ends, list[jax.Array]]:
        """As far as the episodes that run go, up to whether any is over, which, and packed observations and rewards."""
        before = jax.tree.unflatten(self._tree, leaves)
        state, reward = self._advance(before, jnp.clip(action, -1.0, 1.0), physics)
        steps = steps + 1
        obs = groups(state.obs)
        lost = ~finite(obs, reward)
        final_obs = {name: where(lost, groups(before.obs)[name], x) for name, x in obs.items()}
        terminated = (state.done > 0.5) & ~lost
        ends = Ends(terminated, ((steps >= self.limit) | lost) & ~terminated)
        outcome = self._outcome.pack((final_obs, jnp.where(lost, 0.0, reward)))
        return jax.tree.leaves(state), steps, lost_before + lost.sum(), jnp.any(jnp.stack(ends)), ends, outcome

    def _restart(
        self, leaves: Leaves, steps: jax.Array, key: jax.Array, pool: Leaves, ends: Ends, physics: Leaves
    ) -> tuple[Leaves, jax.Array, jax.Array, list[jax.Array]]:
        """The state with new episodes where old ones are over, its steps and key, and what is seen of it, packed."""
        key, own, shift = jax.random.split(key, 3)
        ended = ends.terminated | ends.truncated
        state = self._either(ended, self._fresh(pool, own, shift, physics), leaves)
        # A copy, since the next step takes the memory of the state.
        obs = copied(groups(jax.tree.unflatten(self._tree, state).obs))
        return state, jnp.where(ended, 0, steps), key, self._seen.pack(obs)

    def _fresh(self, pool: Leaves, own: jax.Array, shift: jax.Array, physics: Leaves) -> Leaves:
        """N states of new episodes."""
        if self.full_reset:
            return self._reset_rows(physics, jax.random.split(own, self.num_envs))
        place = jnp.arange(self.num_envs)
        if self._physics is None:  # Neighbours for neighbours: no two environments get the same state at once.
            place = (place + jax.random.randint(shift, (), 0, self.pool_size)) % self.pool_size
        else:  # Physics of its own allow each environment only states of its own.
            place += self._rows_of_choice * jax.random.randint(shift, (self.num_envs,), 0, self._choices)
        return self._with_keys(self._rows(pool, place), own)

    def _advance(self, state: State, action: jax.Array, physics: Leaves) -> tuple[State, jax.Array]:
        """The state after `action_repeat` steps, and the sum of their rewards up to the end of the episode."""
        stepped = self._batched("step", physics, state, action)
        reward = stepped.reward
        for _ in range(self._action_repeat - 1):
            over = stepped.done > 0.5
            further = self._batched("step", physics, stepped, action)
            reward = reward + jnp.where(over, 0.0, further.reward)
            leaves = self._either(over, jax.tree.leaves(stepped), jax.tree.leaves(further))
            stepped = jax.tree.unflatten(self._tree, leaves)
        return stepped, reward

    def _with_keys(self, leaves: Leaves, key: jax.Array) -> Leaves:
        """The state with random streams of its own: environments may share where they begin but not their noise."""
        state = jax.tree.unflatten(self._tree, leaves)
        if "rng" not in state.info:
            return leaves
        return jax.tree.leaves(state.replace(info=state.info | {"rng": jax.random.split(key, self.num_envs)}))

    def _rows(self, leaves: Leaves, rows: jax.Array | int) -> Leaves:
        return [x[rows] if each else x for each, x in zip(self._rowed, leaves, strict=True)]

    def _either(self, mask: jax.Array, yes: Leaves, no: Leaves) -> Leaves:
        """`yes` in the rows of the mask (N,), and `no` where there are no rows."""
        return [where(mask, a, b) if each else b for each, a, b in zip(self._rowed, yes, no, strict=True)]

    def _batched(self, method: str, physics: Leaves, *arguments: Any, start: Any = 0) -> State:
        """A method of the environment over rows of arguments; `start` is the environment of the first row."""
        if self._physics is None:
            return jax.vmap(getattr(self.env, method))(*arguments)
        return self._physics.call(method, physics, *arguments, start=start)  # type: ignore[no-any-return]


def rowed(many: State, one: State) -> list[bool]:
    """Which arrays of a state have a row for each environment: Warp's contacts have none, but are those of all.

    Args:
        many: the shapes of N environments.
        one: the shapes of an environment by itself; those of its pictures may be wrong.
    """
    data = jax.tree.map(lambda a, b: a.shape != b.shape, many.data, one.data)
    return jax.tree.leaves(jax.tree.map(lambda _: True, many).replace(data=data))


def where(mask: jax.Array, yes: jax.Array, no: jax.Array) -> jax.Array:
    """`yes` (N, …) in the rows of the mask (N,)."""
    return jnp.where(mask.reshape(-1, *[1] * (no.ndim - 1)), yes, no)


def bytes_of(tree: Any) -> int:
    """Bytes of all arrays of a tree, or of what has their shapes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def copied(tree: Any) -> Any:
    """All arrays of a tree in memory of their own."""
    return jax.tree.map(jnp.copy, tree)


def groups(obs: Any) -> dict[str, jax.Array]:
    """Observations by group, whether or not the environment names them."""
    return dict(obs) if isinstance(obs, dict) or hasattr(obs, "items") else {OBS: obs}


def finite(obs: Mapping[str, jax.Array], reward: jax.Array) -> jax.Array:
    """Where everything that an algorithm would see is finite, (N,)."""
    good = jnp.isfinite(reward)
    for x in obs.values():
        good &= jnp.isfinite(x.reshape(len(x), -1)).all(-1)
    return good
