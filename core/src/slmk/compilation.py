"""Compiles a whole update step into one graph, with only those guards that such a step needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["compiled", "written"]


def compiled(step: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`step` as one compiled graph; what it costs falls due at the first call.

    Args:
        step: a function of tensors of fixed shapes that may call `torch.autograd.grad` and change its arguments.
        device: where the tensors are.
    """
    # Lets `torch.autograd.grad` be traced inside the step; it changes nothing outside compiled functions.
    torch._dynamo.config.trace_autograd_ops = True
    options: dict[str, Any] = {
        "cpp_wrapper": device.type == "cpu",
        # tanh from exp, within 1e-7: the exact one takes a quarter of an update of 2048 samples.
        "cpp.use_decompose_tanh": True,
        "guard_filter_fn": _guards,
    }
    # Isolated, since without all guards a step of another learner could be taken for this one's.
    return torch.compile(step, fullgraph=True, dynamic=False, options=options, isolate_recompiles=True)  # type: ignore[call-overload,no-any-return]


def written(*tensors: Tensor) -> Sequence[Tensor]:
    """The same tensors, of one shape. Compiled code writes them to memory once.

    Inductor would otherwise compute small ones, such as the factors of a feature, anew wherever a loop reads them.
    """
    return torch.stack(tensors).unbind() if torch.compiler.is_compiling() else tensors


def _guards(entries: Sequence[Any]) -> list[bool]:
    """Which assumptions a compiled step checks when called: shapes, and plain values that loss or modules read.

    Torch would check hundreds, such as the identity of every function: a quarter of a small step's time.
    """
    values = ("CONSTANT_MATCH", "EQUALS_MATCH")
    return [
        (entry.guard_type == "TENSOR_MATCH" and not isinstance(entry.value, nn.Parameter))
        or (entry.guard_type in values and "._call" in entry.name)
        for entry in entries
    ]
