"""What came of checking a component: one outcome for each check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Outcome", "Report"]

Status = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check found."""

    check: str
    """The promise, such as ``exact_resume``."""
    status: Status
    reason: str = ""
    """Why it failed or was skipped; of a check that passed, what is worth knowing."""
    seconds: float = 0.0
    """Wall time it took."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcomes of every check that fits one component. Print it."""

    kind: str
    name: str
    outcomes: Sequence[Outcome]

    @property
    def ok(self) -> bool:
        """Whether something was checked, and nothing failed."""
        return bool(self.of("ok")) and not self.of("failed")

    def of(self, status: Status) -> list[str]:
        """The names of the checks with this status."""
        return [outcome.check for outcome in self.outcomes if outcome.status == status]

    def __str__(self) -> str:
        """A headline, and a line for each check."""
        counts = ", ".join(f"{len(self.of(status))} {status}" for status in ("ok", "failed", "skipped"))
        width = max((len(outcome.check) for outcome in self.outcomes), default=0)
        return "\n".join([f"{self.kind} {self.name}: {counts}", *(_line(each, width) for each in self.outcomes)])


def _line(outcome: Outcome, width: int) -> str:
    indent = "\n" + " " * (width + 12)
    return f"  {outcome.status:<8}{outcome.check:<{width}}  {indent.join(outcome.reason.splitlines())}".rstrip()
