"""Observations by row, each stored once: what follows an observation is the next one of its environment."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from slmk import Obs, Step
from slmk_memory_replay.frames import Stacked
from slmk_memory_replay.storage import Column, Log

__all__ = ["Observations", "Whole"]


class Whole:
    """A group that is kept as it is."""

    def __init__(self, column: Column, num_envs: int) -> None:
        """Keep observations in `column`."""
        self.column = column
        self._num_envs = num_envs
        self._size = len(column.data)

    @staticmethod
    def newest(x: Tensor) -> Tensor:
        """What the observation before does not tell: all of it."""
        return x

    def begin(self, step: int, x: Tensor, env: Tensor, oldest: int) -> None:
        """Store the observations (N, *shape) of a step."""
        self.column.write(step, x)

    def follow(self, step: int, before: Tensor, x: Tensor, final: Tensor, env: Tensor, oldest: int) -> None:
        """Store the observations (N, *shape) of a step that came after another."""
        self.column.write(step, x)

    def forget(self, step: int) -> None:
        """Nothing to forget: a column is written over."""

    def at(self, row: Tensor, oldest: int) -> Tensor:
        """What was acted on in the transitions in rows (B,): (B, *shape)."""
        return self.column.read(row)

    def after(self, row: Tensor, oldest: int) -> Tensor:
        """What was acted on next: (B, *shape). Where the episode ended, it is still to be replaced."""
        return self.column.read((row + self._num_envs) % self._size)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.column.data.nbytes

    def state_dict(self) -> dict[str, Any]:
        """Nothing besides the column."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""


class Observations:
    """Groups of observations, and the last ones of ended episodes, which no later step has."""

    def __init__(
        self,
        like: Obs,
        stacks: Mapping[str, int],
        ends: Column,
        num_envs: int,
        allocate: Callable[[Tensor], Column],
    ) -> None:
        """Make room for observations.

        Args:
            like: for each group what is kept of some of its observations, (*, *shape).
            stacks: the frames per stack, for groups of which only the newest frame is kept.
            ends: for each transition, whether it is the last one of its episode.
            num_envs: N.
            allocate: makes a column for values like those it is given.
        """
        columns = {name: allocate(x) for name, x in like.items()}
        self._groups: dict[str, Whole | Stacked] = {
            name: Stacked(column, ends, stacks[name], num_envs) if name in stacks else Whole(column, num_envs)
            for name, column in columns.items()
        }
        self._ends = ends
        self._size = len(ends.data)
        self._finals = Log({name: column.data for name, column in columns.items()}, self._size)
        self._num_envs = num_envs
        self._env = torch.arange(num_envs, device=ends.data.device)
        self._step = 0
        """The newest step of which there are observations."""
        self._next: Obs = {}

    def continues(self, obs: Obs) -> bool:
        """Whether `obs` are those that `follow` stored last."""
        if self._next and all(obs[name] is x for name, x in self._next.items()):
            return True  # As in the training loop. Comparing values would wait for the device.
        row = self._numbers(self._step) % self._size
        return all(_same(x, obs[name].to(x)) for name, x in self.at(row).items())

    def begin(self, obs: Obs) -> None:
        """Store the first observations of N new episodes, in place of those that `follow` stored last, if any."""
        if self._step > 0:
            self._keep_successors()
        for name, group in self._groups.items():
            group.forget(self._step)
            group.begin(self._step, obs[name], self._env, self._oldest)

    def follow(self, obs: Obs, outcome: Step) -> None:
        """Store what came after `obs`, the observations that were stored last.

        Raises:
            ValueError: a stack does not continue the one before it.
        """
        env, number = self._ended(outcome), self._step * self._num_envs
        self._step += 1
        if env.numel():
            finals = {name: group.newest(outcome.final_obs[name][env]) for name, group in self._groups.items()}
            self._finals.append(env + number, finals, self._oldest)
        for name, group in self._groups.items():
            group.follow(self._step, obs[name], outcome.obs[name], outcome.final_obs[name], env, self._oldest)
        self._next = {name: outcome.obs[name] for name in self._groups}

    def at(self, row: Tensor, names: Container[str] | None = None) -> Obs:
        """What was acted on in the transitions in rows (B,): groups (B, *shape), all of them or those of `names`."""
        return {name: group.at(row, self._oldest) for name, group in self._some(names)}

    def after(self, row: Tensor, names: Container[str] | None = None) -> Obs:
        """What came of them, within the same episode: groups (B, *shape)."""
        obs = {name: group.after(row, self._oldest) for name, group in self._some(names)}
        newest = {name: group.newest(obs[name]) for name, group in self._some(names)}
        self._finals.replace(newest, row, self._ends.read(row), self._oldest)
        return obs

    @property
    def groups(self) -> frozenset[str]:
        """The names of the groups."""
        return frozenset(self._groups)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self._finals.nbytes + sum(group.nbytes for group in self._groups.values())

    def state_dict(self) -> dict[str, Any]:
        """All that is kept."""
        return {
            "step": self._step,
            "kept": {name: group.column.filled(self._step + 1) for name, group in self._groups.items()},
            "groups": {name: group.state_dict() for name, group in self._groups.items()},
            "finals": self._finals.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._step = state["step"]
        for name, group in self._groups.items():
            group.column.fill(state["kept"][name])
            group.load_state_dict(state["groups"][name])
        self._finals.load_state_dict(state["finals"])

    def fill(self, obs: Obs, final_obs: Obs, ends: Tensor) -> None:
        """Hold those of whole episodes of one environment that came one after another; there are no stacks.

        Args:
            obs: what was acted on, groups (T, *shape).
            final_obs: the last observation of each episode, groups (E, *shape).
            ends: the numbers of the transitions with which episodes ended, (E,).
        """
        for name, group in self._groups.items():
            self._step = len(obs[name])
            group.column.fill(obs[name])
            group.column.write(self._step, final_obs[name][-1:])  # What came after the newest transition.
        self._finals.append(ends, final_obs, 0)

    @property
    def _oldest(self) -> int:
        """The oldest number of which there are observations in the ring."""
        return (self._step + 1) * self._num_envs - self._size

    def _ended(self, outcome: Step) -> Tensor:
        """The environments (E,) in which an episode ended, as far as that has to be known."""
        if outcome.final_obs is outcome.obs and not any(isinstance(x, Stacked) for x in self._groups.values()):
            return self._env[:0]  # Nothing that `obs` does not hold; asking would wait for the device.
        return (outcome.terminated | outcome.truncated).nonzero().squeeze(-1)

    def _keep_successors(self) -> None:
        """Keep what came after the newest transitions, before something else is written there."""
        number = self._numbers(self._step - 1)
        after = self.after(number % self._size)
        self._finals.cut((self._step - 1) * self._num_envs)
        kept = {name: group.newest(after[name]) for name, group in self._groups.items()}
        self._finals.append(number, kept, self._oldest)

    def _some(self, names: Container[str] | None) -> Iterable[tuple[str, Whole | Stacked]]:
        return ((name, group) for name, group in self._groups.items() if names is None or name in names)

    def _numbers(self, step: int) -> Tensor:
        """The numbers of the N transitions of a step."""
        return self._env + step * self._num_envs


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same values, NaN among them."""
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())
