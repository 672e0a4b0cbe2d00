"""What MuJoCo warns of, said once in the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

__all__ = ["mujoco_warnings_logged"]

_log = structlog.get_logger()
_said: Final[set[str]] = set()
"""Warnings that this process has logged; MuJoCo has one handler of warnings for all models."""


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


def _warn_once(message: str) -> None:
    if message not in _said:
        _said.add(message)
        _log.warning("MuJoCo", message=message)
