"""A policy as a pure function of tensors: what it remembers comes in and goes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from slmk import Obs, Policy
from slmk.batch import CARRY, FIRST

__all__ = ["ACTION", "NEXT", "Graph"]

ACTION = "action"
"""The first output: (B, *action shape), in the environment's range."""
NEXT = "next/"
"""Prefix of the outputs that hold what a recurrent policy remembers, to be handed in with the next observations."""


class Graph(nn.Module):
    """The deterministic policy, from those observation groups that it reads to actions in the environment's range.

    A recurrent policy reads besides, and returns, a ``carry/<role>`` (B, width), and reads ``first`` (B,) bool: where
    it is true the carry is taken as zero.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self._policy = policy.agent.algorithm.policy
        self._recurrence = policy.agent.recurrence
        example = self._recurrence.start(
            {
                name: torch.as_tensor(space.sample(), device=policy.env.device)[None]
                for name, space in policy.env.observation_spaces.items()
            }
        )
        read = _Read(example)
        with torch.no_grad():
            self._policy(read)
        self.example: Obs = {name: example[name] for name in sorted(read.names)}
        """What is read: a first observation, each group (1, *shape)."""
        self.carries = [name for name in self.example if name.startswith(CARRY)]

    @property
    def outputs(self) -> list[str]:
        """Names of what `forward` returns."""
        return [ACTION, *(NEXT + name for name in self.carries)]

    def forward(self, inputs: Obs) -> tuple[Tensor, ...]:
        """Groups (B, *shape) as in `example` to the action (B, *action shape) and the next carries (B, width)."""
        obs = {name: x for name, x in inputs.items() if name not in (*self.carries, FIRST)}
        if self.carries:
            obs = self._recurrence.attach(obs, {name: inputs[name] for name in self.carries}, inputs[FIRST])
        after = self._recurrence.advance(obs)
        return (self._policy(obs), *(after[name] for name in self.carries))


class _Read(dict[str, Any]):
    """Groups that note which of them are read."""

    def __init__(self, obs: Obs) -> None:
        super().__init__(obs)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        self.names.add(name)
        return super().__getitem__(name)  # type: ignore[no-any-return]

    def get(self, name: str, default: Any = None) -> Any:
        """As that of a dict; a group that is not there is not read."""
        if name not in self:
            return default
        return self[name]
