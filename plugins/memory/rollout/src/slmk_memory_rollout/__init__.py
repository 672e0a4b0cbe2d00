"""On-policy experience: options and registration. The memory itself is in `slmk_memory_rollout.rollout`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from slmk import Component, MemoryConfig, hookimpl

__all__ = ["RolloutConfig"]


class RolloutConfig(MemoryConfig):
    """A rollout has no options: the algorithm's horizon is its length."""

    offers: ClassVar = "take"


@hookimpl
def slmk_memories() -> Iterable[Component]:
    """Offer ``rollout``."""
    return [Component("rollout", RolloutConfig, "slmk_memory_rollout.rollout:Rollout", "all experience, used once")]
