"""What the three ways to step N environments have in common."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from slmk_env_gymnasium.layout import Array, Arrays

__all__ = ["Outcome", "Simulation"]

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
