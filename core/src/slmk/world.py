"""The processes that train one session together, one for each device: a *world*, as ``torchrun`` starts it.

Each process has environments, memory and random streams of its own, and acts as if it were alone. What they share is
the networks: gradients, statistics of normalizers and decisions are averaged here, so that parameters stay the same in
all of them. Without a world, everything here does nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slmk.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "announced",
    "any_of",
    "average",
    "claim_device",
    "gathered",
    "in_all",
    "join",
    "leave",
    "rank",
    "size",
    "told",
]


def announced(environment: Mapping[str, str]) -> int:
    """How many processes ``torchrun`` has started, as its variables say; 1 without them."""
    return int(environment.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in environment else 1


def claim_device() -> None:
    """Leave this process one of the machine's CUDA devices, as ``cuda``: torch, JAX and Warp then agree on which.

    Comes before anything looks for devices. The local rank counts among those that are visible, if some are hidden.
    """
    visible, mine = os.environ.get("CUDA_VISIBLE_DEVICES"), int(os.environ["LOCAL_RANK"])
    if visible is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(mine)
    elif visible:
        names = visible.split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = names[mine % len(names)]


def join() -> None:
    """Meet the other processes; the environment variables of ``torchrun`` say where. Returns when all are there."""
    import torch
    from torch import distributed

    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def leave() -> None:
    """Part from the other processes."""
    if size() > 1:
        from torch import distributed

        distributed.destroy_process_group()


def size() -> int:
    """How many processes there are. Does not import torch: nobody has joined then."""
    distributed = sys.modules.get("torch.distributed")
    return distributed.get_world_size() if distributed and distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0. The first one reports."""
    from torch import distributed

    return distributed.get_rank() if size() > 1 else 0


def average(*tensors: Tensor) -> None:
    """Make each tensor of floats the mean of all processes' in place."""
    if size() > 1:
        from torch import distributed

        with _together():
            for tensor in tensors:
                distributed.all_reduce(tensor)
                tensor.div_(size())


def gathered(x: Tensor) -> Tensor:
    """The samples (B, …) of all processes, (size · B, …), in the order of their ranks."""
    if size() == 1:
        return x
    import torch
    from torch import distributed

    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(size())]
    with _together():
        distributed.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


def any_of(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    if size() == 1:
        return flag
    import torch

    raised = torch.tensor(float(flag))
    average(raised)
    return bool(raised > 0)


def told(value: Any) -> Any:
    """What the first process has; that of the others does not matter."""
    if size() == 1:
        return value
    from torch import distributed

    values = [value]
    with _together():
        distributed.broadcast_object_list(values)
    return values[0]


def in_all(names: Iterable[str]) -> set[str]:
    """Those names that every process has."""
    mine = set(names)
    if size() == 1:
        return mine
    from torch import distributed

    sets: list[set[str]] = [set() for _ in range(size())]
    with _together():
        distributed.all_gather_object(sets, mine)
    return set.intersection(*sets)


@contextmanager
def _together() -> Iterator[None]:
    """Say what it means when another process does not answer."""
    try:
        yield
    except RuntimeError as error:
        raise RunError("another process of this run has ended: what it said is the reason") from error
