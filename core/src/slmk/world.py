"""The processes that train one session together, one for each device: a *world*, as ``torchrun`` starts it.

Each process has environments, memory and random streams of its own, and acts as if it were alone. What they share is
the networks: gradients, statistics of normalizers and decisions are averaged here, so that parameters stay the same in
all of them. Without a world, everything here does nothing.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slmk.errors import Problem, RunError, SpecError

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


_LOST = re.compile(
    "closed by peer|reset by peer|Broken pipe|likely closed|pair closure|remote process exit", re.IGNORECASE
)
"""What gloo, the store of torch and NCCL say where another process does not answer any more."""


def announced(environment: Mapping[str, str]) -> int:
    """How many processes ``torchrun`` has started, as its variables say; 1 without them."""
    return int(environment.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in environment else 1


def claim_device(wanted: str) -> None:
    """Leave this process one of the machine's CUDA devices, as ``cuda``: torch, JAX and Warp then agree on which.

    Comes before anything looks for devices. The local rank counts among those that are visible, if some are hidden.

    Args:
        wanted: the run's device. Where that is none of CUDA, processes may share one.

    Raises:
        SpecError: fewer devices are visible than there are processes on this machine.
    """
    visible, mine = os.environ.get("CUDA_VISIBLE_DEVICES"), int(os.environ["LOCAL_RANK"])
    if visible is None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(mine)
    elif visible:
        names = visible.split(",")
        if wanted.startswith("cuda"):
            _refuse_more_than(len(names))
        os.environ["CUDA_VISIBLE_DEVICES"] = names[mine % len(names)]


def _refuse_more_than(devices: int) -> None:
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes > devices:
        message = "each process needs a CUDA device of its own, but some are hidden by CUDA_VISIBLE_DEVICES"
        expected, hint = f"{devices} on this machine, or fewer", f"torchrun --nproc-per-node={devices}"
        raise SpecError([Problem(message, "run.device", expected=expected, found=f"{processes} processes", hint=hint)])


def join() -> None:
    """Meet the other processes; the environment variables of ``torchrun`` say where. Returns when all are there."""
    import torch
    from torch import distributed

    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


def leave(*, failed: bool = False) -> None:
    """Part from the other processes.

    After an error of this process alone, NCCL would wait for what the others will never do. So where it may be in use,
    a process that `failed` stays. It has to end then, without any more ado, and ``torchrun`` ends the others: the
    command line does so after it has shown the error.
    """
    if size() > 1 and not (failed and _has_nccl()):
        from torch import distributed

        distributed.destroy_process_group()


def _has_nccl() -> bool:
    from torch import distributed

    return "nccl" in distributed.get_backend_config()


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
    """Say what it means when another process does not answer, and what torch says of anything else."""
    try:
        yield
    except RuntimeError as error:
        said = " ".join(
            str(error).partition("\nException raised from")[0].split()
        )  # What follows are torch's own calls.
        if _LOST.search(said):
            raise RunError(f"another process of this run has ended: what it said is the reason ({said})") from error
        raise RunError(f"the processes of this run cannot go on together: {said}") from error
