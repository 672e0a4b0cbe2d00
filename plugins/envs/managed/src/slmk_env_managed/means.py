"""Means of what a simulator logs, as the metrics of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from slmk.protocols import Metrics

__all__ = ["Means"]


class Means:
    """The mean of each figure over those steps at which it was logged, since it was last asked for.

    Each step counts alike, however many episodes ended in it: so does rsl_rl, with whose curves these are compared.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, int] = {}

    def add(self, log: Mapping[str, Any]) -> None:
        """Add the figures of one step: numbers, or tensors of one element, which are not read here."""
        for name, value in log.items():
            if isinstance(value, Tensor) and value.numel() == 1:
                value = value.detach().reshape(()).to(self._device, torch.float32)
            elif not isinstance(value, int | float):
                continue
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self) -> Metrics:
        """The means by ``env/name``, each a 0-dim float32 tensor; they begin anew."""
        means = {f"env/{name}": self._mean(total / self._counts[name]) for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        sums = state["sums"].items()
        self._sums = {name: x.to(self._device) if isinstance(x, Tensor) else x for name, x in sums}
        self._counts = dict(state["counts"])

    def _mean(self, value: float | Tensor) -> Tensor:
        return torch.as_tensor(value, dtype=torch.float32, device=self._device)
