"""What MuJoCo warns of, said once in the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import structlog

__all__ = ["mujoco_warnings_logged"]

_log = structlog.get_logger()


@contextmanager
def mujoco_warnings_logged() -> Iterator[None]:
    """MuJoCo would print a warning for each model it compiles, and into a file in the working directory.

    Needs MuJoCo, which is imported here.
    """
    import mujoco  # type: ignore[import-untyped]

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_warn_once)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


@cache
def _warn_once(message: str) -> None:
    _log.warning("MuJoCo", message=message)
