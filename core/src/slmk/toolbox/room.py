"""Whether environments fit into memory, asked before they are made: a process that runs out of it is killed."""

from __future__ import annotations

import psutil
import torch

from slmk.errors import Problem, SpecError

__all__ = ["free_memory", "require_memory"]

GIB = 2**30


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device; None for a kind of device that does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available if device.type == "cpu" else None


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
