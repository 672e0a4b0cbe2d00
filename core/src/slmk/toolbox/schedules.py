"""Values that change over a run. Imports no torch, so that configs may use it."""

from __future__ import annotations

from slmk.config import Schedule

__all__ = ["at"]


def at(schedule: Schedule, progress: float) -> float:
    """The value of a schedule when the share `progress` in [0, 1] of the budget is used."""
    if isinstance(schedule, int | float):
        return float(schedule)
    share = min(1.0, progress / schedule.until)
    return schedule.start + share * (schedule.end - schedule.start)
