"""Products of matrices in bf16, for compiled updates on CPUs that have such arithmetic."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch import Tensor
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch.fx import Graph, Node

__all__ = ["Bf16Products"]

NARROW: Final = 64
"""Products with a side shorter than this stay as they are. Those of the last layer are values and actions, which bf16
would round to three digits; and short sums gain little."""

TALL: Final = 4096
"""Rows from which on sums over the rows of a factor become products too."""

_aten = torch.ops.aten
_PLAIN: Final[dict[Any, Any]] = {_aten.mm.default: _aten.mm.default, _aten.bmm.default: _aten.bmm.default}
_WITH_SUMMAND: Final[dict[Any, Any]] = {_aten.addmm.default: _aten.mm.default, _aten.baddbmm.default: _aten.bmm.default}
_VIEWS: Final = (
    _aten.permute.default,
    _aten.transpose.int,
    _aten.expand.default,
    _aten.view.default,
    _aten.reshape.default,
)


class Bf16Products(CustomGraphPass):
    """Rounds the factors of products to bf16 (8 bits), and the products too; sums within a product are float32.

    Torch can do the former by itself (``set_float32_matmul_precision("medium")``): oneDNN then rounds and reorders both
    factors within each product, which took as long as the product itself where they were (512, 1024) and (1024, 1024).
    Here they are rounded once, in the loops that compute them, and take half the memory. The gradient of a critic with
    five layers of 256 units was as exact either way (0.5 %), and for 30,720 samples took 396 ms instead of 476 (839 in
    float32); an update of CrossQ with critics of 1024 units took 35 ms instead of 58 (102).

    The gradient of a bias is the sum of a factor's rows. Inductor takes it from all that the factor was computed from,
    which it keeps for that, column by column. With a product of ones and the rounded factor instead, the whole gradient
    took a sixth to a quarter less time (5,120 samples: 60 ms instead of 71; 30,720: 291 instead of 416); for 2,048 it
    was no faster.
    """

    def __call__(self, graph: Graph) -> None:
        """Replace the products in `graph`, and sums over the rows of their factors."""
        rounded: dict[Node, Node] = {}
        for node in list(graph.nodes):
            factors = _factors(node)
            if factors and all(_is_wide(factor) for factor in factors):
                with graph.inserting_before(node):
                    node.replace_all_uses_with(_in_bf16(graph, node, factors, rounded))
                graph.erase_node(node)
        for node in list(graph.nodes):
            if _sums_rows(node) and node.args[0] in rounded:
                with graph.inserting_before(node):
                    node.replace_all_uses_with(_by_ones(graph, node, rounded[node.args[0]]))
                graph.erase_node(node)

    def uuid(self) -> str:
        """Tells graphs with this pass from others in inductor's cache on disk."""
        return f"{__name__}-2-{NARROW}-{TALL}"


def _factors(node: Node) -> tuple[Node, Node] | None:
    """The two matrices that a node multiplies."""
    if node.op != "call_function" or node.kwargs:
        return None
    if node.target in _PLAIN:
        return node.args  # type: ignore[return-value]
    return node.args[1:] if node.target in _WITH_SUMMAND else None  # type: ignore[return-value]


def _is_wide(factor: Node) -> bool:
    value: Tensor = factor.meta["val"]
    return value.dtype == torch.float32 and min(value.shape[-2:]) >= NARROW


def _sums_rows(node: Node) -> bool:
    """Whether a node is the sum over many rows: all axes but the last, or the middle one of several matrices."""
    if node.target != _aten.sum.dim_IntList or node.kwargs:
        return False
    shape: tuple[int, ...] = tuple(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    summed: Any = node.args[1] or ()
    axes = {axis % len(shape) for axis in summed}
    is_rows = axes == set(range(len(shape) - 1)) or (len(shape) == 3 and axes == {1})
    return is_rows and math.prod(shape[axis] for axis in axes) >= TALL


def _by_ones(graph: Graph, node: Node, factor: Node) -> Node:
    """What the sum `node` is, as the product of ones and `factor`."""
    total: Tensor = node.meta["val"]
    value: Tensor = factor.meta["val"]
    width = value.shape[-1]
    matrices = (total.numel() // width, -1, width) if total.numel() > width else (-1, width)
    rows = _call(graph, _aten.reshape.default, factor, matrices)
    shape = (*rows.meta["val"].shape[:-2], 1, rows.meta["val"].shape[-2])
    ones = graph.call_function(_aten.full.default, (shape, 1.0), {"dtype": value.dtype, "device": value.device})
    ones.meta["val"] = value.new_ones(shape)
    product = _call(graph, _aten.mm.default if len(shape) == 2 else _aten.bmm.default, ones, rows)
    return _call(graph, _aten.reshape.default, _cast(graph, product, torch.float32), total.shape)


def _in_bf16(graph: Graph, node: Node, factors: tuple[Node, Node], rounded: dict[Node, Node]) -> Node:
    """The product of `factors`, and what is added to it, as a float32 node."""
    operation = (_PLAIN | _WITH_SUMMAND)[node.target]
    product = _call(graph, operation, *(_rounded(graph, factor, rounded) for factor in factors))
    result = _cast(graph, product, torch.float32)
    return _call(graph, _aten.add.Tensor, result, node.args[0]) if node.target in _WITH_SUMMAND else result


def _rounded(graph: Graph, node: Node, rounded: dict[Node, Node]) -> Node:
    """`node` in bf16, once for all its uses; views of it are views of that."""
    if node not in rounded:
        is_view = node.op == "call_function" and node.target in _VIEWS
        base = _rounded(graph, node.args[0], rounded) if is_view else node  # type: ignore[arg-type]
        with _right_after(graph, node):
            if is_view:
                rounded[node] = _call(graph, node.target, base, *node.args[1:])
            else:
                rounded[node] = _cast(graph, base, torch.bfloat16)
    return rounded[node]


def _right_after(graph: Graph, node: Node) -> AbstractContextManager[None]:
    """Nodes made within it come after `node`, and before all that uses it."""
    if node.op != "placeholder":
        return graph.inserting_after(node)
    return graph.inserting_before(next(each for each in graph.nodes if each.op != "placeholder"))


def _cast(graph: Graph, node: Node, dtype: torch.dtype) -> Node:
    return _call(graph, torch.ops.prims.convert_element_type.default, node, dtype)


def _call(graph: Graph, target: Any, *args: Any) -> Node:
    node = graph.call_function(target, args)
    node.meta["val"] = target(*(arg.meta["val"] if isinstance(arg, Node) else arg for arg in args))
    return node
