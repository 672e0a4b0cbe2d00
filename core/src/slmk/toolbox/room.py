"""Whether environments fit into memory, asked before they are made: a process that runs out of it is killed."""

from __future__ import annotations

from pathlib import Path

import torch

from slmk.errors import Problem, SpecError

__all__ = ["free_memory", "require_memory", "resident_memory"]

GIB = 2**30
_MEMINFO, _STATM = Path("/proc/meminfo"), Path("/proc/self/statm")
_PAGE = 4096


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device, as far as that can be known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu" or not _MEMINFO.exists():
        return None
    fields = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def resident_memory() -> int | None:
    """Bytes of main memory that this process uses, as far as that can be known."""
    return int(_STATM.read_text().split()[1]) * _PAGE if _STATM.exists() else None


def require_memory(num_envs: int, bytes_per_env: float, device: torch.device) -> None:
    """Refuse more environments than there is memory for.

    Args:
        num_envs: N.
        bytes_per_env: an estimate of what each takes.
        device: where they are to be.

    Raises:
        SpecError: they need more than is free.
    """
    needed, free = num_envs * bytes_per_env, free_memory(device)
    if free is None or needed <= free:
        return
    message = f"{num_envs:,} environments need about {needed / GIB:,.1f} GiB, and {free / GIB:,.1f} GiB are free"
    fits = int(free / bytes_per_env)
    hint = f"there is room for {fits:,}" if fits else "there is room for none"
    raise SpecError([Problem(message, "env.num_envs", hint=hint)])
