"""Where experience lies: a ring of values for every transition, and a log for what only few of them have.

Transitions are numbered from the beginning of the run: step · N + environment. Number i lies in row i mod `size`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod
from tempfile import TemporaryFile, gettempdir
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slmk import RunError

__all__ = ["Column", "Log", "Storage", "allocate", "overlay", "places"]

Storage = Literal["device", "cpu", "disk"]
Array = npt.NDArray[Any]
AnyArray = TypeVar("AnyArray", Tensor, Array)

SLACK = 1.5
"""A log that is full moves to one this many times as large as what is still needed."""


def allocate(size: int, like: Tensor, storage: Storage, device: torch.device) -> Tensor:
    """Room for `size` values (size, *shape) like those of `like` (N, *shape), not initialised.

    Numbers with a fraction are kept in float32; others, such as uint8 pixels, as they are.

    Raises:
        RunError: there is no room in memory, or on the disk.
    """
    shape, dtype = (size, *like.shape[1:]), torch.float32 if like.is_floating_point() else like.dtype
    if storage == "disk":
        return _mapped(shape, dtype)
    where = device if storage == "device" else torch.device("cpu")
    try:
        return torch.empty(shape, dtype=dtype, device=where)
    except RuntimeError as error:
        what = f"no room for a replay of {prod(shape) * dtype.itemsize / 2**30:.2f} GiB in the memory of {where}"
        advice = "lower memory.capacity, set memory.frame_stack for stacks of pictures, or memory.storage = 'disk'"
        raise RunError(f"{what}: {advice}") from error


def places(where: Tensor) -> Tensor | slice:
    """The places at which `where` (B,) is true; or all of them, where finding out would wait for the device."""
    return where.nonzero().squeeze(-1) if where.device.type == "cpu" else slice(None)


def overlay(values: Tensor, place: Tensor | slice, where: Tensor, source: Tensor) -> None:
    """Replace those of ``values[place]`` (M, *shape), in place, for which `where` (M,) is true, by `source`."""
    mask = where.reshape(-1, *(1,) * (values.dim() - 1))
    values[place] = torch.where(mask, source, values[place])


class Column:
    """A ring of values: that of transition i lies in row i mod `size`, so that the latest `size` of them are there."""

    def __init__(self, data: Tensor, num_envs: int) -> None:
        """Use `data` (size, *shape), whose size is a multiple of `num_envs`."""
        self.data = data
        self._steps = data.view(-1, num_envs, *data.shape[1:])
        self._count = len(self._steps)
        # NumPy writes a small array in place in a fifth of the time that torch takes.
        self._array = self._steps.numpy() if data.device.type == "cpu" and data.dtype != torch.bfloat16 else None

    def step(self, step: int) -> Tensor:
        """A view of the values of the N transitions of a vector step, (N, *shape)."""
        return self._steps[step % self._count]

    def write(self, step: int, x: Tensor | bool) -> None:
        """Set the values of the N transitions of a vector step to `x`, (N, *shape) or one for all."""
        place = step % self._count
        if self._array is not None:
            self._array[place] = x.numpy(force=True) if isinstance(x, Tensor) else x
        elif isinstance(x, Tensor):
            self._steps[place].copy_(x)
        else:
            self._steps[place].fill_(x)

    def read(self, row: Tensor) -> Tensor:
        """Copies of the values in rows (*batch), (*batch, *shape)."""
        # `index_select` takes half as long, but knows only one axis.
        return self.data.index_select(0, row) if row.dim() == 1 else self.data[row]

    def filled(self, steps: int) -> Tensor:
        """A view of the rows that the first `steps` vector steps have written."""
        return self._steps[:steps].flatten(0, 1)

    def fill(self, values: Tensor) -> None:
        """Write what `filled` returned to where it was."""
        self.data[: len(values)] = values


class Log:
    """Values of those few rows of a ring that have one, in the order of numbers; old ones make room for new ones."""

    def __init__(self, like: Mapping[str, Tensor], size: int) -> None:
        """Keep values, by name, of the shapes (*, *shape), dtypes and devices of `like`, for a ring of `size` rows."""
        device = next(iter(like.values())).device
        self.numbers = torch.empty(0, dtype=torch.int64, device=device)
        self.values = {name: x.new_empty(0, *x.shape[1:]) for name, x in like.items()}
        self._used = 0
        self._size = size

    def __len__(self) -> int:
        return self._used

    def append(self, number: Tensor, values: Mapping[str, Tensor], oldest: int) -> None:
        """Add values (M, *shape) of numbers (M,) above all before. Those of numbers below `oldest` may go."""
        end = self._used + len(number)
        if end > len(self.numbers):
            self._move(oldest, len(number))
            end = self._used + len(number)
        self.numbers[self._used : end] = number
        for name, x in values.items():
            self.values[name][self._used : end] = x
        self._used = end

    def cut(self, number: int) -> None:
        """Forget the values of `number` and of all numbers above."""
        self._used = self._place(number)

    def find(self, row: Tensor, oldest: int) -> tuple[Tensor, Tensor]:
        """Whether each row (B,) has a value, and in which slot of `values`. There must be one in the log.

        Args:
            row: which rows.
            oldest: the oldest number in the ring.
        """
        number = self._number(row, oldest)
        logged = self.numbers[: self._used]
        slot = torch.searchsorted(logged, number).clamp_(max=self._used - 1)
        return logged.index_select(0, slot) == number, slot

    def replace(self, values: Mapping[str, Tensor], row: Tensor, where: Tensor, oldest: int) -> None:
        """Replace those of some values, in place, that have another one in the log.

        Args:
            values: by name, each (B, *shape).
            row: the row of each, (B,).
            where: which of them may have another value, (B,).
            oldest: the oldest number in the ring.
        """
        if self._used:
            way = self._replace_few if where.device.type == "cpu" else self._replace_masked
            way(values, row, where, oldest)

    def _replace_masked(self, values: Mapping[str, Tensor], row: Tensor, where: Tensor, oldest: int) -> None:
        """By masks over all rows: to find out which they are would wait for the device."""
        found, slot = self.find(row, oldest)
        for name, x in values.items():
            overlay(x, slice(None), found & where, self.values[name][slot])

    def _replace_few(self, values: Mapping[str, Tensor], row: Tensor, where: Tensor, oldest: int) -> None:
        """The same one by one, in NumPy, whose calls cost less than torch's for the few that they are."""
        place = where.numpy().nonzero()[0]
        if not len(place):
            return
        logged = self.numbers.numpy()[: self._used]
        number = self._number(row.numpy()[place], oldest)
        slot = logged.searchsorted(number)
        found = logged.take(slot, mode="clip") == number
        if not found.all():
            place, slot = place[found], slot[found]
        for name, x in values.items():
            x.numpy()[place] = self.values[name].numpy().take(slot, 0)

    def _number(self, row: AnyArray, oldest: int) -> AnyArray:
        """The number of the transition or observation that is in each row."""
        return (row - oldest) % self._size + oldest if oldest > 0 else row

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return self.numbers.nbytes + sum(x.nbytes for x in self.values.values())

    def state_dict(self) -> dict[str, Any]:
        """Numbers and values."""
        values = {name: x[: self._used] for name, x in self.values.items()}
        return {"numbers": self.numbers[: self._used], "values": values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hold what `state_dict` returned, and nothing else."""
        self._used = 0
        self.append(state["numbers"], state["values"], 0)

    def _place(self, number: int) -> int:
        """How many numbers are below this one."""
        return int(torch.searchsorted(self.numbers[: self._used], number))

    def _move(self, oldest: int, extra: int) -> None:
        """Move to tensors that have room for `extra` more, without what is too old."""
        start = self._place(oldest)
        kept = slice(start, self._used)
        room = int(SLACK * (self._used - start + extra)) + 1
        self.numbers = _moved(self.numbers[kept], room)
        self.values = {name: _moved(x[kept], room) for name, x in self.values.items()}
        self._used -= start


def _moved(x: Tensor, room: int) -> Tensor:
    larger = x.new_empty(room, *x.shape[1:])
    larger[: len(x)] = x
    return larger


def _mapped(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A tensor in a file without a name: it is gone with the process, however that ends."""
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    size = prod(shape) * kind.itemsize
    folder = _folder()
    try:
        with TemporaryFile(dir=folder) as file:
            _reserve(file.fileno(), size)
            return torch.from_numpy(np.memmap(file, kind, "r+", shape=shape))
    except OSError as error:
        where = f"{folder} (set TMPDIR for another place)"
        raise RunError(f"no room for a replay of {size / 2**30:.2f} GiB in {where}: {error}") from error


def _folder() -> str:
    """Where files go: the folder that ``TMPDIR`` names, or else the system's for temporary files.

    Raises:
        RunError: ``TMPDIR`` names one that cannot be used, in whose place Python would take another, or there is none.
    """
    wanted = os.environ.get("TMPDIR")
    try:
        folder = gettempdir()
    except OSError as error:
        raise RunError(f"no folder for a replay on disk (set TMPDIR to one): {error}") from error
    if wanted and os.path.abspath(wanted) != folder:
        what = f"TMPDIR is {wanted}, but files would be made in {folder}"
        raise RunError(f"no folder for a replay on disk: {what}; set TMPDIR to a folder that can be written to")
    return folder


def _reserve(file: int, size: int) -> None:
    """Claim the space at once, where the system can: a full disk would kill the process in the middle of a run."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:
        os.truncate(file, size)
