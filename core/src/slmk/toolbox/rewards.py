"""Rewards: scaled by the spread of what they add up to, and summed up over whole episodes."""

from __future__ import annotations

import torch
from torch import Tensor

from slmk.protocols import Normalizer
from slmk.toolbox.returns import discounted

__all__ = ["ReturnScaler", "explained_variance", "finished_returns"]


class ReturnScaler:
    """Divides rewards by the running standard deviation of the discounted return.

    The return so far, G_t = r_t + γ (1 − done_{t−1}) G_{t−1}, begins anew with each episode and goes on from one
    rollout to the next: Engstrom et al. (2020), arXiv:2005.12729, algorithm 1.
    """

    def __init__(self, gamma: float, num_envs: int, device: torch.device) -> None:
        """Start where all episodes begin; `gamma` is the discount per step."""
        self.gamma = gamma
        self.carry = torch.zeros(num_envs, device=device)
        """γ G of the last step of each environment (N,), 0 where its episode ended; the state of this object."""

    @torch.no_grad()
    def __call__(self, reward: Tensor, done: Tensor, normalizer: Normalizer | None) -> Tensor:
        """The scaled rewards of a rollout, after the statistics moved by its returns.

        Args:
            reward: (T, N).
            done: (T, N) bool, whether the episode ended with this step.
            normalizer: keeps the statistics of G; changed in place. None leaves rewards as they are.

        Returns:
            (T, N).
        """
        if normalizer is None:
            return reward
        alive = self.gamma * (~done).float()
        # `discounted` runs from the end to the start, so G is found with time reversed.
        total = reward.clone()
        total[0] += self.carry
        decay = torch.cat([torch.zeros_like(alive[:1]), alive[:-1]])
        running = discounted(total.flip(0), decay.flip(0)).flip(0)
        self.carry.copy_(alive[-1] * running[-1])
        normalizer.update(running)
        return normalizer.scale(reward)

    def abandon(self) -> None:
        """The running episodes do not go on: begin anew with the next step."""
        self.carry.zero_()


def finished_returns(reward: Tensor, done: Tensor, gamma: float, newest: int) -> tuple[Tensor, Tensor]:
    """Discounted returns to the end of the episode, and for which steps that end came in the newest rows.

    The return of a step is known only once its episode has ended. Whoever keeps steps until then calls this with all
    kept rows each time rows are added: every step of every episode is `finished` exactly once, unless it was dropped
    before its episode ended. Shapes are static, so nothing waits for the device.

    Args:
        reward: (R, N), oldest row first.
        done: (R, N) bool, whether the episode ended with this step; True in rows that hold nothing.
        gamma: discount per step.
        newest: rows at the end that were added since the last call.

    Returns:
        The returns, which are right where an episode ended at all, and `finished` (R, N) bool.
    """
    returns = discounted(reward, gamma * (~done).to(reward.dtype))
    ends = done.flip(0).cumsum(0).flip(0)  # How many episodes end from here on.
    return returns, (ends > 0) & (ends <= ends[len(ends) - newest])


def explained_variance(returns: Tensor, value: Tensor) -> Tensor:
    """1 − Var(returns − value) / Var(returns): 1 for a perfect critic, and for any of a single return; 0 for one that
    knows only the mean."""
    return 1 - (returns - value).var(correction=0) / (returns.var(correction=0) + 1e-8)
