"""What Warp has no room for, said once in the log; file descriptors are left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import structlog

__all__ = ["warn_of_overflow"]

SOLVER_ITERATIONS = 0b11 << 9
"""`OverflowType.ITERATIONS` and `LS_ITERATIONS`: Playground allows a few only, so that these are always reached."""
_log = structlog.get_logger()


def warn_of_overflow(data: Any, told: int) -> int:
    """Say what Warp had no room for, such as contacts, which it leaves out.

    Args:
        data: the physics of all environments, ``State.data``.
        told: what was said already, as bits of Warp's ``OverflowType``.

    Returns:
        What was said by now.
    """
    overflow = getattr(getattr(data, "_impl", None), "overflow", None)
    if overflow is None:
        return told
    bits = int(np.bitwise_or.reduce(np.asarray(overflow), axis=None)) & ~SOLVER_ITERATIONS
    if new := bits & ~told:
        from mujoco.mjx.third_party.mujoco_warp._src.types import OverflowType

        names = [kind.name for kind in OverflowType if kind.value & new and kind is not OverflowType.ALL]
        advice = "raise naconmax or njmax in env.overrides"
        _log.warning("physics leaves out what it has no room for", kinds=names, advice=advice)
    return told | bits
