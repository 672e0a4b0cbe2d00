"""What ``slmk doctor`` says of a machine: findings of the kernel's checks, and of those that plugins offer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Check", "Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    state: Literal["ok", "note", "bad"]
    """``note``: something is not there that only some runs want. ``bad``: something is broken."""
    subject: str
    detail: str
    advice: str = ""


Check = Callable[[], Iterable[Finding]]
"""Looks at one part of the machine."""
