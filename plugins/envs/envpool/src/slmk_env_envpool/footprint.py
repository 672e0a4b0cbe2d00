"""What an environment of EnvPool takes of main memory: megabytes for a robot, whose simulator is its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from slmk_env_envpool.make import make

if TYPE_CHECKING:
    from slmk_env_envpool import EnvPoolConfig

__all__ = ["MANY", "bytes_per_env"]

MANY = 64
"""Environments from which on memory is measured before they are made."""
SAMPLE = 8
"""Environments that are made to measure their memory."""


def bytes_per_env(config: EnvPoolConfig) -> float:
    """Growth of this process by each further environment, in bytes.

    Raises:
        SpecError: see `slmk_env_envpool.make.make`.
    """
    # The first one takes besides what all share, such as libraries, and keeps what it takes until the others are there.
    process = psutil.Process()
    first, before = _started(config, 1), process.memory_info().rss
    others, after = _started(config, SAMPLE), process.memory_info().rss
    first.close()
    others.close()
    return max(0.0, (after - before) / SAMPLE)


def _started(config: EnvPoolConfig, count: int) -> Any:
    pool = make(config.model_copy(update={"num_envs": count}), 0)
    pool._reset(np.arange(count, dtype=np.int32))
    pool._recv()
    return pool
