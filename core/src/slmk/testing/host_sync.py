"""Finding the places where a computation waits for the device, on a machine that has none."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["host_syncs"]

_OPERATIONS = {
    "aten::_local_scalar_dense",  # item(), float(), int(), and if on a tensor
    "aten::is_nonzero",
    "aten::equal",
    "aten::allclose",
    "aten::nonzero",  # Its result's size is known to the device only.
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::bincount",
}
_METHODS = {Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__, Tensor.__repr__, Tensor.__format__}
"""Methods that wait for the device, but on the CPU dispatch no operation by which that could be noticed."""


@contextmanager
def host_syncs() -> Iterator[list[str]]:
    """Collect what inside would make the host wait for an accelerator, each with the line that asked for it."""
    found: list[str] = []
    with _Methods(found), _Operations(found):
        yield found


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, found: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._found = found

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func._schema.name
        kwargs = kwargs or {}
        masked = name.startswith("aten::index") and _by_mask(args)
        repeated = name == "aten::repeat_interleave" and kwargs.get("output_size") is None
        if name in _OPERATIONS or masked or repeated:
            self._found.append(f"{name.removeprefix('aten::')} at {_caller()}")
        return func(*args, **kwargs)


class _Methods(TorchFunctionMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _METHODS or (func is Tensor.to and _to_the_cpu(args, kwargs)):
            self._found.append(f"{func.__name__} at {_caller()}")
        return func(*args, **kwargs)


def _to_the_cpu(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether `Tensor.to` is asked for the CPU by name.

    A `torch.device` is most often that of the run, which is the CPU here and an accelerator elsewhere.
    """
    target = kwargs.get("device", args[1] if len(args) > 1 else None)
    return isinstance(target, str) and target.partition(":")[0] == "cpu"


def _by_mask(args: Sequence[Any]) -> bool:
    """Whether an indexing operation is given a boolean mask: how many elements that is, only the device knows."""
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(isinstance(index, Tensor) and index.dtype == torch.bool for index in indices)


def _caller() -> str:
    """The innermost line outside torch and this file."""
    root = torch.__path__[0]
    frames = (f for f in reversed(traceback.extract_stack()) if not f.filename.startswith(root))
    frame = next(f for f in frames if f.filename != __file__)
    return f"{frame.filename}:{frame.lineno}: {frame.line}"
