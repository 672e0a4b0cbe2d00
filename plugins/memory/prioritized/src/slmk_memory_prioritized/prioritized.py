"""Prioritized experience replay (Schaul et al. 2016, arXiv:1511.05952), the proportional variant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from slmk import Act, EnvInfo, Obs, Sample, Step
from slmk.toolbox.schedules import at
from slmk_memory_prioritized import PrioritizedConfig
from slmk_memory_prioritized.sum_tree import SumTree
from slmk_memory_replay import Replay

__all__ = ["Prioritized"]

MAX_SHARE = 0.9
"""η of Kapturowski et al. (2019): the weight of a sequence's largest error, beside that of their mean."""


class Prioritized:
    """A replay from which transitions are drawn in proportion to pᵢ^α, where pᵢ is the error last seen of each."""

    def __init__(self, config: PrioritizedConfig, env: EnvInfo, horizon: int, generator: torch.Generator) -> None:
        """See `slmk.hookspecs.slmk_memories`.

        Raises:
            ValueError: the capacity is less than one step of every environment.
            SpecError: there is no stack of the given number of frames.
        """
        self._config = config
        self._replay = Replay(config, env, horizon, generator)
        self._generator = generator
        self._lead = config.burn_in * env.num_envs
        """Numbers from the first step of a sequence to the first that counts, unless an episode begins with it."""
        self._tree = SumTree(self._replay.rows, env.device)
        """Tree of pᵢ^α by row of the ring; 0 in rows that cannot be drawn."""
        self._highest = torch.ones((), dtype=torch.float64, device=env.device)
        """The highest pᵢ^α so far; 1 before there is an error."""
        self._known = range(0)
        """The numbers of the transitions that are in the tree."""

    def __len__(self) -> int:
        """Transitions that can be sampled from."""
        return len(self._replay)

    def add(self, obs: Obs, act: Act, step: Step) -> None:
        """Store one vector step; it gets the highest priority so far (algorithm 1, line 6).

        Raises:
            ValueError: a stack of frames does not continue the one before it.
            RunError: there is no room in memory, or on the disk.
        """
        self._replay.add(obs, act, step)

    def sample(self, batch_size: int, *, gamma: float = 1.0, n_step: int = 1, progress: float = 0.0) -> Sample:
        """Draw transitions, or sequences, by the priority of the first step. See `slmk.protocols.Memory`.

        Raises:
            ValueError: the memory is empty or smaller than the batch, or `n_step` is not possible.
            RunError: an error that was handed back is not finite, on a CPU. Elsewhere asking would wait for the device:
                there `state_dict` raises it.
        """
        self._replay.check(batch_size, n_step)
        self._admit()
        row = self._tree.draw(batch_size, self._generator)
        sample = self._replay.gather(row, gamma=gamma, n_step=n_step)
        sample.weight.mul_(self._weight(row, at(self._config.beta, progress)))
        return sample

    def feedback(self, batch: Sample, error: Tensor) -> None:
        """Set priorities to pᵢ = |δᵢ| + ε (section 3.3), but not in rows that hold no transition any more.

        Args:
            batch: a sample of this memory.
            error: δ, (B,); of sequences (L, B).
        """
        self._admit()
        present = self._tree.values.index_select(0, batch.index)
        error = error.detach().double().abs()
        is_sequence = error.dim() > 1
        if is_sequence:
            error = _of_sequences(error, batch.weight > 0)
        priority = (error + self._config.epsilon) ** self._config.alpha
        if is_sequence:
            priority = torch.where(self._is_early(batch), present, priority)
        self._tree.write(batch.index, torch.where(present > 0, priority, 0.0))
        self._highest = torch.maximum(self._highest, priority.max())

    def priorities(self) -> Tensor:
        """What transitions, or sequences by their first steps, are drawn in proportion to: pᵢ^α, (len,) float64.

        From the oldest step to the newest, with those of the N environments side by side: ``view(-1, N)`` is (T, N).
        """
        self._admit()
        held = self._replay.held
        return self._tree.values[self._numbers(held.start, held.stop) % self._replay.rows]

    def state_dict(self) -> dict[str, Any]:
        """The replay with its random stream, and the priorities.

        Raises:
            RunError: an error that was handed back is not finite.
        """
        self._tree.checked()
        return {
            "replay": self._replay.state_dict(),
            "priorities": self._tree.values[: self._known.stop],
            "known": [self._known.start, self._known.stop],
            "highest": self._highest,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            CheckpointError: the state is that of a replay of another capacity, or of other environments or stacks.
        """
        self._replay.load_state_dict(state["replay"])
        self._tree = SumTree(self._replay.rows, self._highest.device)
        priorities = state["priorities"].to(self._highest.device)
        self._tree.write(torch.arange(len(priorities), device=priorities.device), priorities)
        self._known = range(*state["known"])
        self._highest = state["highest"].to(self._highest, copy=True)

    def _admit(self) -> None:
        """Give what was added since the last call its priority, and take away that of what it has displaced.

        Done here rather than at every `add`, as it costs no more for many transitions than for one.
        """
        known, held = self._known, self._replay.held
        if held == known:
            return
        # All rows that hold none, whatever was in them before: more than a lap may have been added.
        lost = self._numbers(max(0, held.stop - self._replay.rows), held.start)
        new = self._numbers(max(known.stop, held.start), held.stop)
        value = torch.cat([torch.zeros_like(lost, dtype=torch.float64), self._highest.expand(len(new))])
        self._tree.write(torch.cat([lost, new]) % self._replay.rows, value)
        self._known = held

    def _numbers(self, start: int, stop: int) -> Tensor:
        """The numbers from `start` to below `stop`, of which there may be none."""
        return torch.arange(start, max(start, stop), device=self._highest.device)

    def _is_early(self, batch: Sample) -> Tensor:
        """Of which sequences (B,) no step counts, since the first that will is still to come; they tell no error yet.

        Where an episode has ended before such a step, none is to come.
        """
        tells = (batch.weight > 0) | batch.terminated | batch.truncated
        age = (self._replay.held.stop - 1 - batch.index) % self._replay.rows
        return (age < self._lead) & ~tells.any(0)

    def _weight(self, row: Tensor, beta: float) -> Tensor:
        """Importance weights wᵢ = (N · P(i))^−β over the highest in the batch (section 3.4): (B,)."""
        # P(i) is the priority over the total; N and the total cancel.
        priority = self._tree.values.index_select(0, row)
        return (priority / priority.min()).float().pow_(-beta)


def _of_sequences(error: Tensor, counts: Tensor) -> Tensor:
    """η max δ + (1 − η) mean δ over the steps that count (Kapturowski et al. 2019, section 2.3): (L, B) to (B,)."""
    error = torch.where(counts, error, 0.0)
    mean = error.sum(0) / counts.sum(0).clamp(min=1)
    return torch.lerp(mean, error.amax(0), MAX_SHARE)
