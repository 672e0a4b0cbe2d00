"""What recurrent networks remember of N running episodes, handed to them as observation groups.

So an algorithm calls a recurrent network like any other. The groups ``carry/<role>`` and ``first`` travel with the
observations through memory and training; a network takes its memory from before an observation from there.
"""

from __future__ import annotations

from collections.abc import Container

import torch
from torch import Tensor

from slmk.batch import CARRY, FIRST, Obs, Step
from slmk.model import Model

__all__ = ["Recurrence"]


class Recurrence:
    """Adds the groups to observations, and forgets where an episode ends; adds nothing without recurrent networks."""

    def __init__(self, model: Model, carries: Container[str] | None = None) -> None:
        """
        Args:
            model: with the networks.
            carries: the groups ``carry/<role>`` to provide; all by default.
        """
        self._model = model
        self._widths = {
            role: width for role, width in model.recurrent.items() if carries is None or f"{CARRY}{role}" in carries
        }

    def only(self, carries: Container[str]) -> Recurrence:
        """What the networks remember that read these groups."""
        return Recurrence(self._model, carries)

    def start(self, obs: Obs) -> Obs:
        """`obs` (N, …) as first observations of episodes."""
        if not self._widths:
            return obs
        example = next(iter(obs.values()))
        num_envs, device = example.shape[0], example.device
        carries = {
            f"{CARRY}{role}": torch.zeros(num_envs, width, device=device) for role, width in self._widths.items()
        }
        return self.attach(obs, carries, torch.ones(num_envs, dtype=torch.bool, device=device))

    @torch.no_grad()
    def advance(self, obs: Obs) -> dict[str, Tensor]:
        """What the networks remember after `obs`: (N, width) by the name of the group."""
        return self._model.advance(obs)

    def attach(self, obs: Obs, carries: dict[str, Tensor], first: Tensor) -> Obs:
        """`obs` with what `advance` returned, forgotten in the rows that are the `first` (N,) of an episode."""
        if not self._widths:
            return obs
        kept = {name: carry.masked_fill(first.unsqueeze(-1), 0.0) for name, carry in carries.items()}
        return {**obs, **kept, FIRST: first}

    def follow(self, obs: Obs, step: Step) -> Step:
        """`step`, with what the networks remember after `obs`, on which was acted."""
        if not self._widths:
            return step
        carries, done = self.advance(obs), step.terminated | step.truncated
        after = self.attach(step.obs, carries, done)
        ended = step.final_obs is not step.obs
        final = self.attach(step.final_obs, carries, torch.zeros_like(done)) if ended else after
        return Step(after, final, step.reward, step.terminated, step.truncated, step.info)
