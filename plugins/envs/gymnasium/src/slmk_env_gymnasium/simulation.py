"""What the three ways to step N environments have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from slmk_env_gymnasium.layout import Array, Arrays

if TYPE_CHECKING:
    import gymnasium as gym
    from gymnasium.vector import VectorEnv

__all__ = ["Outcome", "Simulation", "begin"]

Outcome = tuple[Arrays, Arrays, npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
"""Observations to act on next, final observations (the very same dict where no episode ended), rewards (N,),
terminated (N,), truncated (N,): new arrays each time. An ended episode has restarted, and no row is both terminated
and truncated."""


class Simulation(Protocol):
    """N environments on arrays: natively vectorised, one after the other, or shared among processes."""

    exact: bool
    """Whether `get_state` and `set_state` restore the environments exactly."""

    def reset(self, seed: int | None) -> Arrays:
        """Start all episodes anew, from the seed if there is one."""
        ...

    def step(self, actions: Array) -> Outcome:
        """Act once in every environment."""
        ...

    def get_state(self) -> list[Any]:
        """The state of the environments, as JSON values and arrays."""
        ...

    def set_state(self, state: list[Any]) -> None:
        """Restore what `get_state` gave."""
        ...

    def render(self) -> npt.NDArray[np.uint8] | None:
        """A picture of the first environment."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


_SMALL = 2**31
"""Seeds below this are taken by every generator, and by whatever is written in C."""


def begin(env: gym.Env[Any, Any] | VectorEnv, seed: int | None) -> Any:
    """The observation after a reset. A seed that the environment refuses is cut to its last 31 bits.

    Seeds of a run have 63 bits, which Gymnasium's generators take and ``numpy.random.RandomState`` does not.
    """
    try:
        return env.reset(seed=seed)[0]
    except (OverflowError, TypeError, ValueError):
        if seed is None or seed < _SMALL:
            raise
        return env.reset(seed=seed % _SMALL)[0]
