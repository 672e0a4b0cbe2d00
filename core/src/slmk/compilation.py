"""Compiles a whole update step into one graph, with only those guards that such a step needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from slmk.arithmetic import chosen_matmul, multiplies_in

__all__ = ["compiled", "written"]


def compiled(step: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`step` as one compiled graph; what it costs falls due at the first call.

    Args:
        step: a method that may call `torch.autograd.grad` and change its arguments. Tensors in its argument ``batch``
            may have other shapes in a later call, and it is compiled anew for these; those in others may not.
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
    if device.type == "cpu" and chosen_matmul() == "bf16" and multiplies_in("bf16", device):
        # Imported here, and inductor with it: few runs need it.
        from slmk.bf16 import Bf16Products

        options["post_grad_custom_pre_pass"] = Bf16Products()
    # Isolated, since without all guards a step of another learner could be taken for this one's.
    graph = torch.compile(step, fullgraph=True, dynamic=False, options=options, isolate_recompiles=True)  # type: ignore[call-overload]
    assert isinstance(step, MethodType)
    return _Forms(step, graph)


class _Forms:
    """The compiled forms of a step, each called as soon as its guards hold.

    Torch has its own way there, which is for any function in any state, and takes a third of a small step's time.
    """

    def __init__(self, step: MethodType, graph: Callable[..., Any]) -> None:
        self._self = step.__self__
        self._function = step.__func__
        self._names = self._function.__code__.co_varnames[1 : self._function.__code__.co_argcount]
        self._graph = graph
        self._forms: list[tuple[Callable[[dict[str, Any]], bool], Callable[..., Any]]] = []

    def __call__(self, *arguments: Any) -> Any:
        named = {"self": self._self, **dict(zip(self._names, arguments, strict=False))}
        for fits, form in self._forms:
            if fits(named):
                return form(self._self, *arguments)
        return self._compile(*arguments)

    def _compile(self, *arguments: Any) -> Any:
        """The step's result, from a form that torch compiles for these arguments."""
        # Imported here: it takes a second, and processes that had it before they joined a world aborted at their end.
        from torch._dynamo.eval_frame import _debug_get_cache_entry_list as compiled_forms

        code, function = self._function.__code__, self._function
        known = {entry.compile_id for entry in compiled_forms(code)}
        result = self._graph(*arguments)
        for entry in compiled_forms(code):
            if entry.compile_id not in known:
                form = FunctionType(
                    entry.code, function.__globals__, function.__name__, function.__defaults__, function.__closure__
                )
                self._forms.append((entry.guard_manager.check, form))
        return result


def written(*tensors: Tensor) -> Sequence[Tensor]:
    """The same tensors, of one shape. Compiled code writes them to memory once.

    Inductor would otherwise compute small ones, such as the factors of a feature, anew wherever a loop reads them.
    """
    return torch.stack(tensors).unbind() if torch.compiler.is_compiling() else tensors


def _guards(entries: Sequence[Any]) -> list[bool]:
    """Which assumptions a compiled step checks when called: the batch, and plain values that loss or modules read.

    Torch would check hundreds, such as the identity of every function: a quarter of a small step's time.
    """
    values = ("CONSTANT_MATCH", "EQUALS_MATCH")
    return [
        (entry.guard_type == "TENSOR_MATCH" and entry.name.startswith("L['batch']"))
        or (entry.guard_type in values and "._call" in entry.name)
        for entry in entries
    ]
