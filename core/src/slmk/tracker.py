"""Undiscounted returns and lengths of training episodes, gathered without a cost per step."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slmk.batch import Step

__all__ = ["ReturnTracker"]


class ReturnTracker:
    """Keeps references to rewards and episode ends as they pass, and adds them up when asked.

    Rewards of an episode are added in time order in float64, so that a result does not depend on when `flush` is
    called.
    """

    def __init__(self, num_envs: int, window: int = 100) -> None:
        """Track `num_envs` environments and average over the last `window` episodes."""
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._last: deque[tuple[float, int]] = deque(maxlen=window)
        self._new: list[float] = []
        self._count = 0

    def add(self, step: Step) -> None:
        """Remember one vector step, without its observations."""
        self._steps.append((step.reward, step.terminated, step.truncated))

    def flush(self) -> None:
        """Add up what has been remembered; one transfer where the tensors are on an accelerator."""
        if not self._steps:
            return
        reward, terminated, truncated = (torch.stack(column) for column in zip(*self._steps, strict=True))
        self._steps.clear()
        self._add_up(reward.cpu().numpy().astype(np.float64), (terminated | truncated).cpu().numpy())

    def metrics(self) -> dict[str, float | None]:
        """``episode/…`` metrics; ``episode/return`` is the mean of the episodes that ended since the last call."""
        self.flush()
        new, self._new = self._new, []
        returns, lengths = zip(*self._last, strict=True) if self._last else ((), ())
        return {
            "episode/return": float(np.mean(new)) if new else None,
            "episode/return_ma": float(np.mean(returns)) if returns else None,
            "episode/length_ma": float(np.mean(lengths)) if lengths else None,
            "episode/count": self._count,
        }

    def abandon(self) -> None:
        """Forget the running episodes: their simulators were reset from outside."""
        self.flush()
        self._returns[:], self._lengths[:] = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        """Running and past episodes."""
        self.flush()
        return {
            "returns": self._returns,
            "lengths": self._lengths,
            "last": [list(episode) for episode in self._last],
            "new": list(self._new),
            "count": self._count,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._steps.clear()
        self._returns = np.array(state["returns"], dtype=np.float64)
        self._lengths = np.array(state["lengths"], dtype=np.int64)
        self._last = deque(((float(r), int(n)) for r, n in state["last"]), self._last.maxlen)
        self._new, self._count = list(state["new"]), state["count"]

    def _add_up(self, reward: npt.NDArray[np.float64], done: npt.NDArray[np.bool_]) -> None:
        """Go from one moment at which episodes end to the next: (T, N) rewards and ends."""
        start = 0
        for end in np.flatnonzero(done.any(1)):
            self._advance(reward[start : end + 1])
            for index in np.flatnonzero(done[end]):
                self._close(int(index))
            start = int(end) + 1
        self._advance(reward[start:])

    def _advance(self, reward: npt.NDArray[np.float64]) -> None:
        # cumsum adds strictly one after the other, unlike sum.
        self._returns = np.cumsum(np.concatenate([self._returns[None], reward]), axis=0)[-1]
        self._lengths += len(reward)

    def _close(self, index: int) -> None:
        episode = float(self._returns[index]), int(self._lengths[index])
        self._last.append(episode)
        self._new.append(episode[0])
        self._count += 1
        self._returns[index], self._lengths[index] = 0.0, 0
