"""Estimators of the advantage function."""

from __future__ import annotations

from torch import Tensor

from slmk.toolbox.returns import bootstrapped, discounted

__all__ = ["gae"]


def gae(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438, eq. 16), with ends told apart.

    δ_t = r_t + γ (1 − terminated_t) V(next_obs_t) − V(obs_t) and A_t = δ_t + γλ (1 − done_t) A_{t+1}: there is no value
    after a terminal state, there is one after a cut, and nothing leaks from one episode into the one before it.

    Args:
        reward: (T, N).
        value: (T, N), V of the observations acted on.
        next_value: (T, N), V of the observations that followed, of the same episode always.
        terminated: (T, N) bool.
        truncated: (T, N) bool.
        gamma: discount per step.
        lam: λ; 0 gives one-step, 1 Monte-Carlo advantages.

    Returns:
        The advantages and the λ-returns (their sum with `value`), each (T, N).
    """
    delta = bootstrapped(reward, gamma, terminated, next_value) - value
    goes_on = ~(terminated | truncated)
    advantage = discounted(delta, (gamma * lam) * goes_on.to(delta.dtype))
    return advantage, advantage + value
