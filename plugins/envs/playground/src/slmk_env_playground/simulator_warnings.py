"""What simulators warn of, said once in the log; file descriptors are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import mujoco
import numpy as np
import structlog

__all__ = ["mujoco_warnings_logged", "warn_of_overflow"]

SOLVER_ITERATIONS = 0b11 << 9
"""`OverflowType.ITERATIONS` and `LS_ITERATIONS`: Playground allows a few only, so that these are always reached."""
_log = structlog.get_logger()


@contextmanager
def mujoco_warnings_logged() -> Iterator[None]:
    """MuJoCo would print a warning for each model it compiles, and into a file in the working directory."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_warn_once)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


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


@cache
def _warn_once(message: str) -> None:
    _log.warning("MuJoCo", message=message)
