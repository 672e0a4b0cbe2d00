"""The replay against a plain list of everything that was ever added, over random lengths, ends and interruptions."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from slmk import Act, EnvInfo, Obs, Sample, Step
from slmk.state import get_state, set_state
from slmk.testing.checkpoints import through_a_file
from slmk_memory_replay import Replay, ReplayConfig

FRAMES, GAMMA = 3, 0.5
"""With a discount of one half and small integers as rewards every sum is exact in float32."""


@dataclass
class World:
    """N environments whose observations are random, and whose episodes end at random."""

    num_envs: int
    seed: int
    ends: float
    """Probability of an end in each step."""
    added: list[tuple[Obs, Act, Step]] = field(default_factory=list)
    interrupted: set[int] = field(default_factory=set)
    """Steps after which all environments were restarted."""

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.info = EnvInfo(
            self.num_envs,
            {"x": spaces.Box(-1, 1, (2,)), "pixels": spaces.Box(0, 255, (FRAMES, 2, 2), np.uint8)},
            spaces.Discrete(2),
            torch.device("cpu"),
        )
        self.obs = self.first()

    def first(self) -> Obs:
        """First observations, whose stacks have any padding."""
        return {"x": self.floats(2), "pixels": self.pixels(FRAMES), "carry/actor": self.floats(3)}

    def next(self, obs: Obs) -> Obs:
        """Observations that continue these."""
        pixels = torch.cat([obs["pixels"][:, 1:], self.pixels(1)], 1)
        return {"x": self.floats(2), "pixels": pixels, "carry/actor": self.floats(3)}

    def step(self) -> tuple[Obs, Act, Step]:
        """One vector step."""
        after, reset = self.next(self.obs), self.first()
        terminated, truncated = (torch.tensor(self.random.random(self.num_envs) < self.ends / 2) for _ in range(2))
        done = terminated | truncated
        obs = {name: torch.where(done.view(-1, *(1,) * (x.dim() - 1)), reset[name], x) for name, x in after.items()}
        reward = torch.tensor(self.random.integers(-8, 8, self.num_envs)).float()
        act = Act(torch.tensor(self.random.integers(0, 2, self.num_envs)), {"raw": self.floats(2)})
        step = Step(obs, after if done.any() else obs, reward, terminated, truncated)
        self.added.append((self.obs, act, step))
        self.obs = obs
        return self.added[-1]

    def restart(self) -> None:
        """Begin new episodes everywhere, as a resumed run does whose simulator has no state."""
        if self.added:
            self.interrupted.add(len(self.added) - 1)
        self.obs = self.first()

    def floats(self, width: int) -> Tensor:
        return torch.tensor(self.random.random((self.num_envs, width)), dtype=torch.float32)

    def pixels(self, frames: int) -> Tensor:
        return torch.tensor(self.random.integers(0, 256, (self.num_envs, frames, 2, 2), np.uint8))

    def last(self, t: int, n: int, steps: int) -> int:
        """The last step of at most `steps` that go on from step t of environment n."""
        for u in range(t, t + steps):
            step = self.added[u][2]
            if step.terminated[n] or step.truncated[n] or u in self.interrupted or u == len(self.added) - 1:
                return u
        return t + steps - 1

    def begins(self, t: int, n: int) -> bool:
        """Whether step t of environment n is the first of its episode."""
        if t == 0 or t - 1 in self.interrupted:
            return True
        before = self.added[t - 1][2]
        return bool(before.terminated[n] or before.truncated[n])

    def next_obs(self, t: int, n: int) -> dict[str, Tensor]:
        step = self.added[t][2]
        done = step.terminated[n] or step.truncated[n]
        return {name: x[n] for name, x in (step.final_obs if done else step.obs).items()}

    def transition(self, number: int, n_step: int) -> dict[str, Any]:
        """What a sample has to say of a transition."""
        t, n = divmod(number, self.num_envs)
        last = self.last(t, n, n_step)
        obs, act, _ = self.added[t]
        ending = self.added[last][2]
        return {
            "obs": {name: x[n] for name, x in obs.items()},
            "action": act.action[n],
            "reward": sum(GAMMA**k * self.added[t + k][2].reward[n] for k in range(last - t + 1)),
            "next_obs": self.next_obs(last, n),
            "terminated": ending.terminated[n],
            "truncated": ending.truncated[n],
            "extras": {name: x[n] for name, x in act.extras.items()},
            "discount": torch.tensor(GAMMA ** (last - t + 1)),
            "weight": torch.tensor(1.0),
        }


def stacked(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Dicts of tensors as a dict of stacked tensors."""
    return {
        key: stacked([row[key] for row in rows])
        if isinstance(rows[0][key], dict)
        else torch.stack([r[key] for r in rows])
        for key in rows[0]
    }


def assert_same(found: Any, expected: Any, path: str = "") -> None:
    """Equal in values, shapes and dtypes, all the way down."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), path
        for key in expected:
            assert_same(found[key], expected[key], f"{path}.{key}")
        return
    assert found.dtype == expected.dtype, path
    assert torch.equal(found, expected), path


def parts(sample: Sample) -> dict[str, Any]:
    names = ("obs", "action", "reward", "next_obs", "terminated", "truncated", "extras", "discount", "weight", "index")
    return {name: getattr(sample, name) for name in names}


def assert_holds(memory: Replay, world: World, steps: int, n_step: int) -> None:
    """The memory holds the latest `steps` vector steps of the world, each transition as it was."""
    newest = len(world.added)
    assert memory.held == range(max(0, newest - steps) * world.num_envs, newest * world.num_envs)
    row = torch.tensor(memory.held) % memory.rows
    expected = stacked([world.transition(i, n_step) | {"index": torch.tensor(i % memory.rows)} for i in memory.held])
    assert_same(parts(memory.gather(row, gamma=GAMMA, n_step=n_step)), expected)


def assert_holds_sequences(memory: Replay, world: World, length: int, burn_in: int) -> None:
    """Sequences from every held transition: within the episode, the last step repeated, carries of the first alone.

    At the beginning of an episode all steps count, elsewhere those after the burn-in.
    """
    sample = memory.gather(torch.tensor(memory.held) % memory.rows, gamma=GAMMA)
    for column, number in enumerate(memory.held):
        t, n = divmod(number, world.num_envs)
        last = world.last(t, n, length)
        places = [min(t + k, last) for k in range(length)]
        rows = stacked([world.transition(u * world.num_envs + n, 1) for u in places])
        carries = [group.pop("carry/actor")[0] for group in (rows["obs"], rows["next_obs"])]
        unknown = 0 if world.begins(t, n) else burn_in
        rows["weight"] = torch.tensor([float(unknown <= k <= last - t) for k in range(length)])
        found = copy.copy(sample)
        found.obs, found.next_obs = dict(sample.obs), dict(sample.next_obs)
        for group, carry in zip((found.obs, found.next_obs), carries, strict=True):
            assert torch.equal(group.pop("carry/actor")[column], carry)
        tree = parts(found)
        assert tree.pop("index")[column] == number % memory.rows
        assert_same(_column(tree, column), rows)


def _column(tree: Any, column: int) -> Any:
    return {k: _column(x, column) for k, x in tree.items()} if isinstance(tree, dict) else tree[:, column]


worlds = st.builds(
    World,
    num_envs=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    ends=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
chunks = st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["go on", "restart", "resume", "copies"])), max_size=6)


def run(world: World, memory: Replay, steps: int, how: str) -> Replay:
    """Add steps; before that the run is resumed, its environments are restarted, or observations are copied."""
    if how == "resume":
        other = Replay(memory._config, world.info, 1, torch.Generator())
        set_state(other, through_a_file(get_state(memory)))
        memory = other
    if how == "restart":
        world.restart()
    for _ in range(steps):
        obs, act, step = world.step()
        memory.add({name: x.clone() for name, x in obs.items()} if how == "copies" else obs, act, step)
    return memory


@settings(max_examples=60, deadline=None)
@given(
    world=worlds,
    steps=st.integers(1, 12),
    spare=st.integers(0, 2),
    chunks=chunks,
    n_step=st.integers(1, 5),
    frames=st.sampled_from([0, FRAMES]),
    storage=st.sampled_from(["device", "disk"]),
)
def test_transitions_are_those_of_a_list(world, steps, spare, chunks, n_step, frames, storage) -> None:
    """Whatever was added, ended, interrupted or resumed: every transition held is what a list of all says it is."""
    capacity = steps * world.num_envs + min(spare, world.num_envs - 1)
    config = ReplayConfig(capacity=capacity, frame_stack=frames, storage=storage)
    memory = Replay(config, world.info, 1, torch.Generator())
    for count, how in chunks:
        memory = run(world, memory, count, how)
        assert_holds(memory, world, steps, 1)
        assert_holds(memory, world, steps, n_step)


@settings(max_examples=40, deadline=None)
@given(
    world=worlds,
    steps=st.integers(1, 12),
    chunks=chunks,
    sequence=st.integers(2, 5),
    burn_in=st.integers(0, 3),
    frames=st.sampled_from([0, FRAMES]),
)
def test_sequences_are_those_of_a_list(world, steps, chunks, sequence, burn_in, frames) -> None:
    """Sequences stay within an episode and what is held; carries are those before their first step."""
    config = ReplayConfig(capacity=steps * world.num_envs, frame_stack=frames, sequence=sequence, burn_in=burn_in)
    memory = Replay(config, world.info, 1, torch.Generator())
    for count, how in chunks:
        memory = run(world, memory, count, how)
        assert_holds_sequences(memory, world, burn_in + sequence, burn_in)
