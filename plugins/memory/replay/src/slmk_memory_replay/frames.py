"""Stacks of frames, of which every frame is kept once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from slmk_memory_replay.storage import Column, Log, overlay, places

__all__ = ["Stacked"]


class Stacked:
    """A group of stacks (N, k, *frame), oldest frame first, of which the newest frame of each step is kept.

    Within an episode a stack is the newest frames of the last k steps. What a stack holds from before its episode, the
    padding of its first k − 1 steps, is whatever the environment put there: it is kept with the first step.
    """

    def __init__(self, column: Column, ends: Column, frames: int, num_envs: int) -> None:
        """Keep the frames of stacks.

        Args:
            column: for the frames; it holds k − 1 steps more than are asked for.
            ends: for each transition, whether it is the last one of its episode.
            frames: k, at least 2.
            num_envs: N.
        """
        self.column = column
        self._ends = ends
        self._frames = frames
        self._num_envs = num_envs
        self._size = len(column.data)
        shape = column.data.shape[1:]
        self._starts = Log({"padding": column.data.unsqueeze(1).expand(-1, frames - 1, *shape)}, self._size)

    @staticmethod
    def newest(stack: Tensor) -> Tensor:
        """The newest frame of each stack: a view (N, *frame)."""
        return stack[:, -1]

    def begin(self, step: int, stack: Tensor, env: Tensor, oldest: int) -> None:
        """Store the stacks (N, k, *frame) of `step`; those of environments `env` (E,) are the first of an episode."""
        self.column.write(step, self.newest(stack))
        if len(env):
            self._starts.append(env + step * self._num_envs, {"padding": stack[env, :-1]}, oldest)

    def follow(self, step: int, before: Tensor, stack: Tensor, final: Tensor, env: Tensor, oldest: int) -> None:
        """Store the stacks that came after `before`; in environments `env` (E,), where an episode ended, `final` did.

        Raises:
            ValueError: a stack has other frames than the one before it.
        """
        after = stack.index_copy(0, env, final[env]) if len(env) else stack
        if not torch.equal(before[:, 1:], after[:, :-1]):
            raise ValueError(
                f"a stack of {self._frames} frames does not continue the one before it, so its frames cannot be kept "
                "one by one; set memory.frame_stack to 0"
            )
        self.begin(step, stack, env, oldest)

    def forget(self, step: int) -> None:
        """Forget which episodes begin at `step`."""
        self._starts.cut(step * self._num_envs)

    def at(self, row: Tensor, oldest: int) -> Tensor:
        """The stacks that were acted on in the transitions in rows (B,): (B, k, *frame)."""
        return self._stack(row, oldest, 1 - self._frames)

    def after(self, row: Tensor, oldest: int) -> Tensor:
        """The stacks after those: (B, k, *frame). Where the episode ended, the newest frame is still to be replaced."""
        return self._stack(row, oldest, 2 - self._frames)

    @property
    def nbytes(self) -> int:
        """Size of frames and padding, in bytes."""
        return self.column.data.nbytes + self._starts.nbytes

    def state_dict(self) -> dict[str, Any]:
        """The padding; frames are the column's affair."""
        return self._starts.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._starts.load_state_dict(state)

    def _stack(self, row: Tensor, oldest: int, first: int) -> Tensor:
        """The frames of k successive steps (B, k, *frame), the first of them `first` steps after the rows `row` (B,).

        Before an episode there is its padding.
        """
        offset = torch.arange(first, first + self._frames, device=row.device)
        rows = (row.unsqueeze(-1) + offset * self._num_envs) % self._size
        frames = self.column.read(rows.flatten())
        age = self._age(row)
        is_padding = (offset < -age.unsqueeze(-1)).flatten()
        place = places(is_padding)
        if isinstance(place, slice) or len(place):
            start = (row - age * self._num_envs) % self._size
            # The newest frame of an episode's first stack would be number k − 1 of its padding.
            number = (self._frames - 1 + age.unsqueeze(-1) + offset).flatten()[place]
            overlay(frames, place, is_padding[place], self._padding(start, oldest, number, place))
        return frames.view(*rows.shape, *frames.shape[1:])

    def _padding(self, start: Tensor, oldest: int, number: Tensor, place: Tensor | slice) -> Tensor:
        """Frames from before episodes that began in rows `start` (B,): those of a number (M,), at places of B · k."""
        padding = self._starts.values["padding"]
        slot = self._starts.find(start, oldest)[1].repeat_interleave(self._frames)[place]
        return padding[slot, number.clamp(max=self._frames - 2)]

    def _age(self, row: Tensor) -> Tensor:
        """Steps since the episode of the transition in each row (B,) began, at most k − 1."""
        back = torch.arange(1, self._frames, device=row.device)
        before = (row.unsqueeze(-1) - back * self._num_envs) % self._size
        return (~self._ends.read(before)).cumprod(-1).sum(-1)
