"""How far a session is, as its rows tell, and how fast it goes now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["WINDOW", "Progress"]

WINDOW: Final = 30.0
"""Seconds over which the speed is taken: long enough to even out evaluations, short enough to follow a change."""


@dataclass(slots=True)
class Progress:
    """One session."""

    seed: int
    budget: int
    """Environment steps at which it is done."""
    env_steps: int = 0
    return_ma: float | None = None
    """Mean return of its last 100 episodes."""
    best: float | None = None
    """The highest `return_ma` so far."""
    evaluation: float | None = None
    """Mean return of its last evaluation."""
    _marks: deque[tuple[float, int]] = field(default_factory=deque)
    """``(time, env_steps)`` of the rows that arrived within the window, and of the two latest in any case."""

    def recall(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in rows that were reported before this process began: they say where, not how fast."""
        for row in rows:
            self._take(row)

    def add(self, row: Mapping[str, Any], now: float) -> None:
        """Take in a row that arrives at the time `now`, in seconds of a clock that never goes back."""
        self._take(row)
        self._marks.append((now, self.env_steps))
        while len(self._marks) > 2 and now - self._marks[1][0] >= WINDOW:
            self._marks.popleft()

    @property
    def share(self) -> float:
        """How much of the budget is used, in [0, 1]."""
        return min(1.0, self.env_steps / self.budget)

    @property
    def finished(self) -> bool:
        """Whether the budget is used up."""
        return self.env_steps >= self.budget

    @property
    def heard(self) -> bool:
        """Whether a row has arrived from a running session."""
        return bool(self._marks)

    @property
    def speed(self) -> float | None:
        """Environment steps per second of late; None until two rows have arrived at different times."""
        if not self._marks:
            return None
        (since, steps_then), (until, steps_now) = self._marks[0], self._marks[-1]
        return (steps_now - steps_then) / (until - since) if until > since else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end of the budget at the present speed; None while that is unknown or 0."""
        return max(0, self.budget - self.env_steps) / self.speed if self.speed else None

    def _take(self, row: Mapping[str, Any]) -> None:
        self.env_steps = row["env_steps"]
        if (mean := row.get("eval/return_mean")) is not None:
            self.evaluation = mean
        if (mean := row.get("episode/return_ma")) is not None:
            self.return_ma = mean
            self.best = mean if self.best is None else max(self.best, mean)
