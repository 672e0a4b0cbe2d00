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

PENDING = 2**18
"""Rewards that are remembered at most before they are added up, which bounds memory between rare reports."""


class ReturnTracker:
    """Keeps references to rewards and episode ends as they pass, and adds them up when asked.

    Rewards of an episode are added in time order in float64, so that a result does not depend on when `flush` is
    called.
    """

    def __init__(self, num_envs: int, window: int = 100) -> None:
        """Track `num_envs` environments and average over the last `window` episodes."""
        self._steps: list[tuple[Tensor, Tensor, Tensor]] = []
        self._limit = min(max(1, PENDING // num_envs), 4096)
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, dtype=np.int64)
        self._last: deque[tuple[float, int]] = deque(maxlen=window)
        self._new: list[float] = []
        self._count = 0

    def add(self, step: Step) -> None:
        """Remember one vector step, without its observations."""
        self._steps.append((_alone(step.reward), _alone(step.terminated), _alone(step.truncated)))
        if len(self._steps) >= self._limit:
            self.flush()

    def flush(self) -> None:
        """Add up what has been remembered; one transfer where the tensors are on an accelerator."""
        if not self._steps:
            return
        reward, terminated, truncated = (torch.stack(column) for column in zip(*self._steps, strict=True))
        self._steps.clear()
        both = torch.stack([reward, (terminated | truncated).to(reward.dtype)]).cpu().numpy()
        self._add_up(both[0].astype(np.float64), both[1] != 0)

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
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "last": [list(episode) for episode in self._last],
            "new": list(self._new),
            "count": self._count,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._steps.clear()
        self._returns = torch.as_tensor(state["returns"]).cpu().numpy().copy()
        self._lengths = torch.as_tensor(state["lengths"]).cpu().numpy().copy()
        self._last = deque(((float(r), int(n)) for r, n in state["last"]), self._last.maxlen)
        self._new, self._count = list(state["new"]), state["count"]

    def _add_up(self, reward: npt.NDArray[np.float64], done: npt.NDArray[np.bool_]) -> None:
        """Add (T, N) rewards to their episodes. `bincount` adds strictly in the order given, which is that of time."""
        envs = np.arange(len(self._returns))
        # The k-th episode of environment n within this chunk has the number k·N + n; those with k = 0 were running.
        numbers = np.cumsum(done, axis=0) * len(envs) + envs
        episode = (numbers - done * len(envs)).ravel()
        size = int(numbers[-1].max()) + 1
        order = np.concatenate([envs, episode])
        returns = np.bincount(order, np.concatenate([self._returns, reward.ravel()]), size)
        lengths = np.bincount(episode, minlength=size)
        lengths[envs] += self._lengths
        self._close(episode[done.ravel()], returns, lengths)
        self._returns, self._lengths = returns[numbers[-1]], lengths[numbers[-1]]

    def _close(self, ended: npt.NDArray[Any], returns: npt.NDArray[Any], lengths: npt.NDArray[Any]) -> None:
        self._last.extend(zip(returns[ended].tolist(), lengths[ended].tolist(), strict=True))
        self._new.extend(returns[ended].tolist())
        self._count += len(ended)


def _alone(x: Tensor) -> Tensor:
    """The tensor, or a copy where it is part of something larger, such as all that a simulator has packed together:
    that would not be freed before the next flush."""
    return x if x.untyped_storage().nbytes() <= x.nbytes else x.clone()
