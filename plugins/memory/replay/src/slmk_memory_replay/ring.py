"""The ring of transitions: everything that is kept of each, found by number."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slmk import Act, Obs, Sample, Step
from slmk_memory_replay.observations import Observations
from slmk_memory_replay.storage import Column, Storage, allocate

__all__ = ["Layout", "Ring"]

EXTRA = "extras/"
"""Prefix of the columns that hold extras of `Act`."""
ENDINGS = ("terminated", "truncated", "ends")
"""Columns that tell how an episode went on; ``ends`` is whether nothing follows, for these reasons or another."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How much a ring holds, of what, and where."""

    steps: int
    """Vector steps of transitions."""
    num_envs: int
    stacks: Mapping[str, int]
    """Groups that are stacks of frames, with the frames of each stack."""
    storage: Storage
    device: torch.device
    """Where tensors are kept, unless on the disk."""

    @property
    def rows(self) -> int:
        """Room for the transitions, for the observations after the newest, and for older frames of the oldest stack."""
        return (self.steps + max((1, *self.stacks.values()))) * self.num_envs

    def column(self, like: Tensor) -> Column:
        """A column for values like these, (*, *shape)."""
        return Column(allocate(self.rows, like, self.storage, self.device), self.num_envs)


class Ring:
    """Transitions by row. They count from the beginning of the run, step · N + environment, and number i is in row i
    mod `rows`; in the rows between the newest and the oldest are observations alone.
    """

    def __init__(self, layout: Layout, values: Mapping[str, Tensor], obs: Obs) -> None:
        """Make room for transitions.

        Args:
            layout: how many, and where.
            values: what is kept of each besides observations, of some transitions, (*, *shape).
            obs: likewise of observations; of stacks one frame.
        """
        self._layout = layout
        self._num_envs = layout.num_envs
        self._rows = layout.rows
        self._count = 0
        self._columns = {name: layout.column(x) for name, x in values.items()}
        self._ends = self._columns["ends"]
        self._ends.data.fill_(True)  # Nothing came before the first step.
        self._ended = torch.empty(0)
        """Whether the episode of each of the newest transitions ended with it, (N,)."""
        self._observations = Observations(obs, layout.stacks, self._ends, layout.num_envs, layout.column)

    @classmethod
    def for_step(cls, layout: Layout, obs: Obs, act: Act, step: Step) -> Ring:
        """An empty ring for steps like this one."""
        kept = {name: x[:, -1] if name in layout.stacks else x for name, x in obs.items()}
        return cls(layout, {**_values(act, step), "ends": step.terminated}, kept)

    @classmethod
    def from_state(cls, layout: Layout, state: Mapping[str, Any]) -> Ring:
        """The ring of which `state_dict` told."""
        ring = cls(layout, state["columns"], state["obs"]["kept"])
        ring._fill(state["count"], state["columns"])
        ring._observations.load_state_dict(state["obs"])
        return ring

    @classmethod
    def of_episodes(cls, layout: Layout, columns: Mapping[str, Tensor], obs: Obs, final_obs: Obs) -> Ring:
        """The ring to which T steps of E whole episodes of one environment were added.

        Args:
            layout: room for T steps of one environment, without stacks.
            columns: what is kept of each step besides observations, each (T, ...); all but extras.
            obs: what was acted on, groups (T, *shape).
            final_obs: the last observation of each episode, groups (E, *shape).

        Raises:
            ValueError: the last step is not the end of an episode, or an end has no last observation.
        """
        ends = columns["ends"].nonzero().squeeze(-1)
        given = {len(x) for x in final_obs.values()}
        if not columns["ends"][-1] or given != {len(ends)}:
            raise ValueError(f"{len(ends)} ends and {given} last observations are not those of whole episodes")
        ring = cls(layout, columns, obs)
        ring._fill(len(columns["ends"]), columns)
        ring._observations.fill(obs, final_obs, ends)
        return ring

    @property
    def held(self) -> range:
        """The numbers of the transitions that are held."""
        return range(max(0, self._count - self._layout.steps) * self._num_envs, self._count * self._num_envs)

    @property
    def groups(self) -> frozenset[str]:
        """The names of the groups of observations."""
        return self._observations.groups

    @property
    def nbytes(self) -> int:
        """Size of all that is kept, in bytes."""
        return self._observations.nbytes + sum(column.data.nbytes for column in self._columns.values())

    def add(self, obs: Obs, act: Act, step: Step) -> None:
        """Store one vector step, in place of the oldest where the ring is full.

        Raises:
            ValueError: a stack of frames does not continue the one before it.
        """
        self._go_on(obs)
        self._observations.follow(obs, step)
        for name, x in _values(act, step).items():
            self._columns[name].write(self._count, x)
        self._ends.write(self._count, True)  # Until something follows.
        self._ended = step.terminated | step.truncated
        self._count += 1

    def onward(self, row: Tensor, steps: Tensor) -> Tensor:
        """The rows of the transitions `steps` later in the same environment."""
        return (row + steps * self._num_envs) % self._rows

    def reach(self, rows: Tensor) -> Tensor:
        """How many of consecutive steps (L, B) belong together: (B,), from 1 to L.

        They do up to and with the last of an episode, or the newest step, whatever is in the rows behind it.
        """
        return 1 + (~self._ends.read(rows[:-1])).cumprod(0).sum(0)

    def begins(self, row: Tensor) -> Tensor:
        """Whether the transitions in rows (B,) of `held` are the first of their episodes."""
        return self._ends.read((row - self._num_envs) % self._rows)

    def rewards(self, row: Tensor) -> Tensor:
        """The reward of each transition, of the shape of `row`."""
        return self._columns["reward"].read(row)

    def sample(
        self, first: Tensor, last: Tensor, discount: float = 1.0, groups: Container[str] | None = None
    ) -> Sample:
        """Transitions from step `first` to step `last`, with weights of 1.

        Observation, action, extras and index are those of the first step, and so is the reward; the next observation,
        and whether the episode ended, those of the last.

        Args:
            first: the row of the first step of each transition, (B,).
            last: the row of its last step.
            discount: one for all.
            groups: of observations; all by default.
        """
        columns = {name: column.read(first) for name, column in self._columns.items() if name not in ENDINGS}
        reward = columns.pop("reward")
        return Sample(
            obs=self._observations.at(first, groups),
            action=columns.pop("action"),
            reward=reward,
            next_obs=self._observations.after(last, groups),
            terminated=self._columns["terminated"].read(last),
            truncated=self._columns["truncated"].read(last),
            extras={name.removeprefix(EXTRA): x for name, x in columns.items()},
            discount=reward.new_full(first.shape, discount),
            weight=reward.new_ones(first.shape),
            index=first,
        )

    def observations(self, row: Tensor, groups: Container[str]) -> tuple[Obs, Obs]:
        """What was acted on in the transitions in rows (B,), and what came of it: some groups, (B, *shape)."""
        return self._observations.at(row, groups), self._observations.after(row, groups)

    def state_dict(self) -> dict[str, Any]:
        """How many steps were added, and what is filled."""
        return {
            "count": self._count,
            "columns": {name: column.filled(self._count) for name, column in self._columns.items()},
            "obs": self._observations.state_dict(),
        }

    def _fill(self, count: int, columns: Mapping[str, Tensor]) -> None:
        """Hold what `count` steps have left in the columns."""
        self._count = count
        for name, column in self._columns.items():
            column.fill(columns[name])
        self._ended = self._columns["terminated"].step(count - 1) | self._columns["truncated"].step(count - 1)

    def _go_on(self, obs: Obs) -> None:
        """Make ready for the step in which `obs` are acted on: the newest so far is no longer where everything ends."""
        if self._count == 0:
            self._observations.begin(obs)
            return
        self._ends.write(self._count - 1, self._ended)
        if not self._observations.continues(obs):  # A resumed run had to begin new episodes.
            self._ends.write(self._count - 1, True)
            self._observations.begin(obs)


def _values(act: Act, step: Step) -> dict[str, Tensor]:
    """What is kept of a vector step besides observations, by column, each (N, …)."""
    return {
        "action": act.action,
        "reward": step.reward,
        "terminated": step.terminated,
        "truncated": step.truncated,
        **{EXTRA + name: x for name, x in act.extras.items()},
    }
