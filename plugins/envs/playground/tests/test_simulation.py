"""What is added to Playground's functional environments, on one whose every number can be told in advance."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import batching
from mujoco_playground._src.mjx_env import State

from slmk_env_playground.simulation import CHOICES, CHUNKS, Simulation

N = 6
CONTACTS = 10
"""As many as there are states in the pool, and more than there are environments."""


@partial(jax.tree_util.register_dataclass, data_fields=["x", "start", "contacts"], meta_fields=[])
@dataclass
class Data:
    """A state of physics whose `contacts`, as Warp's, are one array for all environments, which `vmap` passes by."""

    x: Any
    start: Any
    contacts: Any


def split(part, _, data, axis):
    return Data(part(data.x, axis), part(data.start, axis), data.contacts)


def join(whole, size, data, axis):
    return Data(whole(size, data.x, axis), whole(size, data.start, axis), data.contacts)


batching.register_vmappable(Data, int, int, split, join, None)


class Counter:
    """Starts at a random number, adds the action times its physics, ends at +3, and shows rubbish at −3.

    ``info`` carries a command that is drawn at the start, as locomotion does, and a random key.
    """

    def __init__(self):
        self._mjx_model = jnp.ones(())

    @property
    def unwrapped(self):
        return self

    @property
    def mjx_model(self):
        return self._mjx_model

    def reset(self, rng):
        rng, own = jax.random.split(rng)
        start = jax.random.uniform(own, minval=-0.5, maxval=0.5)
        return self._state(start, start, {"rng": rng, "command": start * 100}, start * 0, jnp.zeros(CONTACTS))

    def step(self, state, action):
        x = state.data.x + action[0] * self._mjx_model
        return self._state(x, state.data.start, state.info, x, state.data.contacts + 1)

    def _state(self, x, start, info, reward, contacts):
        obs = jnp.stack([jnp.where(x < -3, jnp.nan, x), info["command"]])
        return State(Data(x, start, contacts), obs, reward, (jnp.abs(x) > 3).astype(float), {}, info)


class Heavy(Counter):
    """Starts at the number that its physics is."""

    def reset(self, rng):
        start = 1.0 * self._mjx_model
        return self._state(start, start, {"rng": rng, "command": start}, start * 0, jnp.zeros(CONTACTS))


def randomizer(model, keys):
    """Environment number i has physics i + 1."""
    return jnp.arange(1.0, len(keys) + 1), 0


def by_chance(model, keys):
    """Physics by the random keys."""
    return jax.vmap(lambda key: jax.random.uniform(key, minval=0.5, maxval=2.0))(keys), 0


@cache
def simulation(limit=5, action_repeat=1, full_reset=False, randomized=False):
    return Simulation(Counter(), N, limit, action_repeat, full_reset, randomizer if randomized else None)


def moves(*values):
    return jnp.broadcast_to(jnp.array(values, float).reshape(-1, 1), (N, 1))


def observed(it, carry):
    """What is seen of the running episodes, (N, 2), in memory of its own."""
    return np.array(it.state_of(carry).obs)


def pooled(it, carry):
    """What would be seen of the states in the pool, (P, 2)."""
    return observed(it, carry._replace(state=carry.pool))


def test_episodes_begin_at_states_of_their_own():
    """No two of N are alike, one seed gives one beginning, another one another, and commands fit their states."""
    it = simulation()
    carry = it.begin(0)
    obs = observed(it, carry)
    assert len(np.unique(obs[:, 0])) == N
    np.testing.assert_allclose(obs[:, 1], 100 * obs[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(obs, observed(it, it.begin(0)))
    assert not np.isin(obs, observed(it, it.begin(1))).any()
    assert len(pooled(it, carry)) == it.pool_size == CHUNKS


@pytest.mark.parametrize("full_reset", [False, True])
def test_a_time_limit_truncates_and_the_next_episode_is_a_new_one(full_reset):
    """After five steps `final_obs` is where the old episode ended; `obs`, command and key are those of the new one."""
    it = simulation(full_reset=full_reset)
    carry = it.begin(0)
    start = observed(it, carry)[:, 0]
    for step in range(1, 6):
        carry, out = it.step(carry, moves(0.1))
        np.testing.assert_allclose(out.final_obs["state"][:, 0], start + 0.1 * step, rtol=1e-5)
        np.testing.assert_allclose(out.reward, start + 0.1 * step, rtol=1e-5)
        assert np.asarray(out.truncated).all() == (step == 5)
        assert not np.asarray(out.terminated).any()
    obs = np.asarray(out.obs["state"])
    np.testing.assert_allclose(obs[:, 1], 100 * obs[:, 0], rtol=1e-6)
    assert len(np.unique(obs[:, 0])) == N
    assert (np.abs(obs[:, 0]) <= 0.5).all()
    assert len(np.unique(np.asarray(it.state_of(carry).info["rng"]), axis=0)) == N
    np.testing.assert_array_equal(carry.steps, 0)
    if not full_reset:
        assert np.isin(obs[:, 0], pooled(it, carry)[:, 0]).all()


def test_only_what_ended_restarts():
    """Environment 2 leaves the range in its fourth step: terminated, not truncated; the others go on."""
    it = simulation(limit=9)
    carry = it.begin(0)
    action = moves(0, 0, 1, 0, 0, 0)
    for _ in range(3):
        carry, out = it.step(carry, action)
    before = observed(it, carry)
    while not np.asarray(out.terminated).any():
        carry, out = it.step(carry, action)
    assert np.flatnonzero(out.terminated).tolist() == [2]
    assert not np.asarray(out.truncated).any()
    assert out.final_obs["state"][2, 0] > 3
    assert abs(out.obs["state"][2, 0]) <= 0.5
    rest = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(np.asarray(out.obs["state"])[rest], before[rest])
    assert np.asarray(carry.steps)[2] == 0


def test_what_is_not_finite_is_cut_at_the_step_before():
    """An observation that is not a number ends the episode as a cut, with the last good observation and no reward."""
    it = simulation(limit=9)
    carry = it.begin(0)
    action = moves(0, -1, 0, 0, 0, 0)
    while carry.lost == 0:
        before = observed(it, carry)
        carry, out = it.step(carry, action)
    assert carry.lost == 1
    assert np.flatnonzero(out.truncated).tolist() == [1]
    assert not np.asarray(out.terminated).any()
    np.testing.assert_array_equal(out.final_obs["state"][1], before[1])
    assert out.reward[1] == 0
    assert np.isfinite(np.asarray(out.obs["state"])).all()
    assert abs(out.obs["state"][1, 0]) <= 0.5


def test_actions_are_clipped_and_repeated():
    """An action of 5 counts as 1, three times over, and the rewards of the three are summed."""
    it = simulation(limit=9, action_repeat=3)
    carry = it.begin(0)
    x = observed(it, carry)[:, 0]
    _, out = it.step(carry, moves(*[5, 0.5, 0, 0, 0, 0]))
    np.testing.assert_allclose(out.final_obs["state"][0, 0], x[0] + 3, rtol=1e-5)
    np.testing.assert_allclose(out.reward[0], 3 * x[0] + 6, rtol=1e-4)
    np.testing.assert_allclose(out.final_obs["state"][1, 0], x[1] + 1.5, rtol=1e-5)


def test_repeats_stop_at_the_end_of_an_episode():
    """What would have come after the end neither counts nor moves the last observation."""
    it = simulation(limit=9, action_repeat=3)
    carry = it.begin(0)
    carry, _ = it.step(carry, moves(0.9))
    x = observed(it, carry)[:, 0]
    _, out = it.step(carry, moves(1))
    for row in range(N):
        passed = x[row] + np.arange(1, 4)
        last = int(np.argmax(passed > 3)) if (passed > 3).any() else 2
        assert out.final_obs["state"][row, 0] == pytest.approx(passed[last], rel=1e-5)
        assert out.reward[row] == pytest.approx(passed[: last + 1].sum(), rel=1e-5)
        assert bool(out.terminated[row]) == (passed > 3).any()


def test_the_pool_is_renewed_part_by_part():
    """One of ten states is another one then, and new episodes can begin there."""
    it = simulation()
    carry = it.begin(0)
    after = it.renew(carry, 3)
    old, new = (pooled(it, each)[:, 0] for each in (carry, after))
    assert np.flatnonzero(old != new).tolist() == [3]
    assert not np.array_equal(carry.key, after.key)
    np.testing.assert_array_equal(observed(it, carry), observed(it, after))


def test_each_environment_keeps_its_physics():
    """Environment i moves i + 1 times as far, also after restarts, which are at its own states of the pool, at all."""
    it = simulation(randomized=True, limit=2)
    carry = it.begin(0)
    own = pooled(it, carry)[:, 0].reshape(CHOICES, -1)[:, :N]
    begun = [set() for _ in range(N)]
    for _ in range(60):
        x = observed(it, carry)[:, 0]
        carry, out = it.step(carry, moves(0.01))
        np.testing.assert_allclose(out.final_obs["state"][:, 0].numpy() - x, 0.01 * np.arange(1, N + 1), rtol=1e-3)
        if np.asarray(out.truncated).all():
            for row, start in enumerate(out.obs["state"][:, 0].tolist()):
                begun[row].add(start)
    assert begun == [set(own[:, row].tolist()) for row in range(N)]
    assert all(len(starts) == CHOICES for starts in begun)


def test_a_renewed_part_of_the_pool_has_the_physics_of_its_environments():
    """States of environment i are computed with its physics, in whichever part of the pool they lie."""
    it = Simulation(Heavy(), N, 2, 1, False, randomizer)
    carry = it.begin(0)
    for part in (3, 13, 34):
        carry = it.renew(carry, part)
    physics = pooled(it, carry)[:, 0].reshape(CHOICES, -1)
    np.testing.assert_array_equal(physics, np.broadcast_to(np.arange(1.0, 11.0), (CHOICES, 10)))


def test_physics_are_those_of_the_seed_and_stay_through_restarts():
    """One compiled step serves every seed: physics are its arguments."""
    it = Simulation(Heavy(), N, 2, 1, True, by_chance)
    own = {}
    for seed in (0, 1, 0):
        carry = it.begin(seed)
        physics = np.array(carry.physics[0])
        np.testing.assert_array_equal(own.setdefault(seed, physics), physics)
        for _ in range(4):
            x = observed(it, carry)[:, 0]
            carry, out = it.step(carry, moves(0.1))
            moved = out.final_obs["state"][:, 0].numpy() - x
            np.testing.assert_allclose(moved, 0.1 * physics[:N], rtol=1e-5)
        np.testing.assert_array_equal(observed(it, carry)[:, 0], physics[:N])
        np.testing.assert_array_equal(carry.physics[0], physics)
    assert len(np.unique([*own[0], *own[1]])) == 2 * len(own[0])


class Robot(Counter):
    """Has a model of several parts."""

    def __init__(self):
        self._mjx_model = {"gain": jnp.ones(2), "name": None, "weight": jnp.full(3, 7.0)}

    def reset(self, rng):
        start = jnp.zeros(())
        return self._state(start, start, {"rng": rng, "command": start}, start, jnp.zeros(CONTACTS))

    def step(self, state, action):
        x = state.data.x + action[0] * self._mjx_model["gain"][1] + 0 * self._mjx_model["weight"].sum()
        return self._state(x, state.data.start, state.info, x, state.data.contacts)


def test_only_what_the_randomizer_changes_has_rows():
    """Other arrays of the model are the environment's, not copied for each."""

    def lighter(model, keys):
        gain = jnp.stack([jnp.ones(len(keys)), jnp.arange(1.0, len(keys) + 1)], axis=0)
        return model | {"gain": gain}, {"gain": 1, "name": None, "weight": None}

    it = Simulation(Robot(), N, 5, 1, False, lighter)
    carry = it.begin(0)
    assert [x.shape for x in carry.physics] == [(2, it.pool_size // CHOICES)]
    _, out = it.step(carry, moves(0.1))
    np.testing.assert_allclose(out.final_obs["state"][:, 0], 0.1 * np.arange(1, N + 1), rtol=1e-6)


def test_memory_is_estimated_before_any_is_taken():
    """Of more environments than any memory holds, states and physics are counted alone."""
    plain, randomized = (Simulation(Counter(), 10**12, 5, randomizer=each) for each in (None, randomizer))
    assert plain.nbytes > 10**13
    assert randomized.nbytes > plain.nbytes


@pytest.mark.parametrize("action_repeat", [1, 3])
def test_what_has_no_rows_is_neither_batched_nor_restarted(action_repeat):
    """Contacts of all environments stay one array, in the state and in the pool; one environment is given all."""
    it = simulation(limit=2, action_repeat=action_repeat)
    carry = it.begin(0)
    for step in range(1, 5):
        carry, out = it.step(carry, moves(0.1))
        assert out.truncated.all() == (step % 2 == 0)
        np.testing.assert_array_equal(it.state_of(carry).data.contacts, np.full(CONTACTS, step * action_repeat))
    carry = it.renew(carry, 0)
    assert it.state_of(carry._replace(state=carry.pool)).data.contacts.shape == (CONTACTS,)
    assert it.state_of(carry, 3).data.contacts.shape == (CONTACTS,)
    assert it.state_of(carry, 3).data.x == it.state_of(carry).data.x[3]


def test_the_environment_is_left_as_it_was():
    """Tracing with other physics does not leave them behind."""
    env = Counter()
    it = Simulation(env, N, 5, 1, False, randomizer)
    it.step(it.begin(0), moves(0.1))
    assert float(env.mjx_model) == 1
