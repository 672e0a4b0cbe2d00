"""How many of the machine's cores a process is to compute on."""

from __future__ import annotations

import os

__all__ = ["cores", "share_cores"]

_processes = 1
"""Number of processes that share this machine's cores."""


def cores() -> int:
    """Cores for this process, at least 1: its share of those that it may use.

    Inside a container or under taskset these are fewer than the machine has. Sessions that run side by side share them.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, usable // _processes)


def share_cores(processes: int) -> None:
    """From now on so many processes, of which this is one, divide the cores among them."""
    global _processes
    _processes = processes
