"""How a rollout is cut into samples for training: single transitions, or windows of steps for recurrent networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from slmk.batch import CARRY

__all__ = ["Windows"]

Tree = Mapping[str, Any]
"""Tensors by name, or trees of them, as ``obs`` is one."""


class Windows:
    """Cuts rollouts of T × N steps into windows of L consecutive steps of one environment.

    With L = 1, for networks without recurrence, a rollout becomes (T·N, …). With more it becomes (L, T·N / L, …), and
    of the carries only those before each window's first step are kept, (T·N / L, width): a recurrent network unrolls
    from there. So losses that are written for any leading axes serve both.
    """

    def __init__(self, length: int = 1) -> None:
        self.length = length

    def cut(self, rollout: Tree) -> dict[str, Any]:
        """A tree of (T, N, …) as one of windows.

        Raises:
            ValueError: T is not a multiple of the length.
        """
        return {
            name: self.cut(x) if isinstance(x, Mapping) else self._cut(x, name.startswith(CARRY))
            for name, x in rollout.items()
        }

    def pick(self, windows: Tree, index: Tensor) -> dict[str, Any]:
        """The windows `index` (B,) of a tree that `cut` made: (B, …), or (L, B, …)."""
        return {
            name: self.pick(x, index) if isinstance(x, Mapping) else self._pick(x, index, name.startswith(CARRY))
            for name, x in windows.items()
        }

    def count(self, steps: int) -> int:
        """Windows in a rollout of `steps` transitions (T·N)."""
        return steps // self.length

    def _cut(self, x: Tensor, is_carry: bool) -> Tensor:
        if self.length == 1:
            return x.flatten(0, 1)
        horizon, num_envs, *shape = x.shape
        if horizon % self.length:
            raise ValueError(f"a rollout of {horizon} steps does not split into windows of {self.length}")
        windows = x.reshape(horizon // self.length, self.length, num_envs, *shape).transpose(0, 1)
        windows = windows.reshape(self.length, -1, *shape)
        return windows[0] if is_carry else windows

    def _pick(self, x: Tensor, index: Tensor, is_carry: bool) -> Tensor:
        return x[index] if is_carry or self.length == 1 else x[:, index]
