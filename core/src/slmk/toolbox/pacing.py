"""How much to learn from a replay: gradient steps in proportion to transitions, after a warm-up."""

from __future__ import annotations

from typing import Protocol

from slmk import world

__all__ = ["Pace"]


class _Options(Protocol):
    """What the config of an algorithm that learns from samples has."""

    @property
    def learning_starts(self) -> int: ...
    @property
    def utd_ratio(self) -> float: ...
    @property
    def horizon(self) -> int: ...


class Pace:
    """Counts the gradient steps that are due, so that `utd_ratio` holds for any number of environments."""

    def __init__(self, options: _Options, *, num_envs: int, env_steps: int) -> None:
        """
        Args:
            options: `learning_starts` in environment steps, `utd_ratio` in gradient steps per transition, `horizon`.
            num_envs: N.
            env_steps: the run's budget, over all processes; 0 if unknown, and then there is no warm-up.
        """
        self.transitions = options.horizon * num_envs
        """New transitions at each call of ``learn``."""
        self.steps = int(options.utd_ratio * max(0, env_steps - options.learning_starts) / world.size())
        """Gradient steps of this process in the whole run, about."""
        self._per_learn = options.utd_ratio * self.transitions
        self._warm_up = options.learning_starts / env_steps if env_steps else 0.0
        self._owed = 0.0

    def warms_up(self, progress: float) -> bool:
        """Whether it is too early to learn, at this share of the budget."""
        return progress < self._warm_up

    def due(self, progress: float, *, ready: bool = True) -> int:
        """Gradient steps to take in this call of ``learn``. Fractions of one are carried over to the next call.

        Args:
            progress: the share of the budget that is used.
            ready: whether there is something to learn from; calls before that owe nothing.
        """
        if not ready or self.warms_up(progress):
            return 0
        self._owed += self._per_learn
        steps = int(self._owed)
        self._owed -= steps
        return steps
