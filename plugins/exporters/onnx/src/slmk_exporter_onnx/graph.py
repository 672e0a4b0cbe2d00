"""A policy as a pure function of tensors: what it remembers comes in and goes out."""

from __future__ import annotations

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
        self._recurrence = policy.recurrence
        spaces = policy.env.observation_spaces
        obs = {name: torch.as_tensor(spaces[name].sample(), device=policy.env.device)[None] for name in policy.reads}
        self.example: Obs = dict(sorted(self._recurrence.start(obs).items()))
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
