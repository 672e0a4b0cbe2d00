"""What self-imitation learns from: the steps of past episodes with their return, drawn by how much they gained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from slmk import Obs
from slmk.toolbox.rewards import finished_returns

__all__ = ["Past"]

SMALLEST_GAIN = 1e-6
"""So that no step of a finished episode is quite forgotten."""


class Past:
    """A ring of S vector steps of N environments, from which steps are drawn once their episode has ended.

    The gain of a step is (R − V)₊: how much its discounted return exceeds what the critic expected. Steps are drawn
    with probability p ∝ gain^α and weighted by p^−β, the largest weight being 1: Schaul et al. (2016),
    arXiv:1511.05952, section 3. Shapes are static, and nothing but `ready` waits for the device.
    """

    def __init__(self, rows: int, reach: int, *, gamma: float, exponent: float, correction: float) -> None:
        """Describe the ring; room is made when the first steps come.

        Args:
            rows: S.
            reach: rows, counted back from the newest, in which returns are still to be found.
            gamma: discount per step.
            exponent: α.
            correction: β.
        """
        self.rows, self.reach = rows, min(reach, rows)
        self.gamma, self.exponent, self.correction = gamma, exponent, correction
        self.obs: Obs = {}
        """Groups, each (S, N, *shape)."""
        self.steps: dict[str, Tensor] = {}
        """What else was added, and ``returns`` and ``priority``, which is 0 until the return is known; (S, N, …)."""
        self.next = 0
        """The row to write next."""

    @property
    def ready(self) -> bool:
        """Whether there are steps of ended episodes to draw. Waits for the device."""
        return bool(self.steps) and bool((self.steps["priority"] > 0).any())

    def add(self, obs: Obs, steps: Mapping[str, Tensor]) -> None:
        """Store a rollout, and find the returns of all episodes that ended in it.

        Args:
            obs: groups acted on, each (T, N, *shape).
            steps: (T, N, …) each; among them ``reward`` and the critic's ``value`` (T, N), and ``done`` (T, N) bool.
                Where an episode was cut, the reward is to include the value of what was still to come.
        """
        unknown = torch.zeros_like(steps["reward"])
        steps = {**steps, "returns": unknown, "priority": unknown}
        if not self.steps:
            self.obs, self.steps = _room(obs, self.rows), _room(steps, self.rows)
            self.steps["done"].fill_(True)  # Empty rows count as ended long ago.
        horizon = len(unknown)
        rows = self._newest_rows(horizon, self.next + horizon, unknown.device)
        _write(self.obs, rows, obs)
        _write(self.steps, rows, steps)
        self.next = (self.next + horizon) % self.rows
        self._find_returns(horizon)

    def abandon(self) -> None:
        """The running episodes do not go on, and the returns of their steps are never found."""
        if self.steps:
            self.steps["done"][(self.next - 1) % self.rows] = True

    def sample(self, batch_size: int, generator: torch.Generator) -> dict[str, Any]:
        """Draw steps: ``obs``, what was added besides, ``returns``, ``weight`` and their place ``index``; (B, …) each.

        All weights are 0 if there are no steps of ended episodes (any more).
        """
        priority = self.steps["priority"].flatten().double()
        total = priority.cumsum(0)
        draw = torch.rand(batch_size, generator=generator, dtype=total.dtype, device=total.device)
        index = torch.searchsorted(total, draw * total[-1], right=True).clamp(max=len(total) - 1)
        drawn = priority[index]
        weight = torch.where(drawn > 0, drawn**-self.correction, 0.0)
        weight = weight / weight.max().clamp(min=torch.finfo(weight.dtype).tiny)
        steps = _pick(self.steps, index) | {"weight": weight.float(), "index": index}
        return steps | {"obs": _pick(self.obs, index)}

    def feedback(self, index: Tensor, gain: Tensor) -> None:
        """Tell what the gains of drawn steps (B,) are by now."""
        priority = self.steps["priority"].view(-1)
        priority[index] = torch.where(priority[index] > 0, self._priority(gain), 0.0)

    def state_dict(self) -> dict[str, Any]:
        """The ring."""
        return {"obs": self.obs, "steps": self.steps, "next": self.next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.obs, self.steps = ({name: x.clone() for name, x in state[key].items()} for key in ("obs", "steps"))
        self.next = state["next"]

    def _find_returns(self, horizon: int) -> None:
        """Give steps whose episode ended in the newest `horizon` rows their return and their priority."""
        rows = self._newest_rows(self.reach, self.next, self.steps["reward"].device)
        reward, done, value = (self.steps[name][rows] for name in ("reward", "done", "value"))
        returns, finished = finished_returns(reward, done, self.gamma, horizon)
        for name, x in (("returns", returns), ("priority", self._priority(returns - value))):
            self.steps[name][rows] = torch.where(finished, x, self.steps[name][rows])

    def _newest_rows(self, count: int, end: int, device: torch.device) -> Tensor:
        """Where the `count` rows before `end` lie in the ring, oldest first."""
        return torch.arange(end - count, end, device=device) % self.rows

    def _priority(self, gain: Tensor) -> Tensor:
        return gain.clamp(min=SMALLEST_GAIN) ** self.exponent


def _room(tensors: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    return {name: x.new_zeros(rows, *x.shape[1:]) for name, x in tensors.items()}


def _write(room: Mapping[str, Tensor], rows: Tensor, tensors: Mapping[str, Tensor]) -> None:
    for name, x in tensors.items():
        room[name][rows] = x


def _pick(room: Mapping[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    """Single steps (B, …) of (S, N, …), by their place among S · N."""
    return {name: x.flatten(0, 1)[index] for name, x in room.items()}
