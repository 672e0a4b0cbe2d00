"""Products of matrices in bf16, for compiled updates on CPUs that have such arithmetic."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch._inductor.custom_graph_pass import CustomGraphPass
from torch.fx import Graph, Node

__all__ = ["Bf16Products"]

NARROW: Final = 64
"""Products with a side shorter than this stay as they are. Those of the last layer are values and actions, which bf16
would round to three digits; and short sums gain little."""

_aten = torch.ops.aten
_PLAIN: Final[dict[Any, Any]] = {_aten.mm.default: _aten.mm.default, _aten.bmm.default: _aten.bmm.default}
_WITH_SUMMAND: Final[dict[Any, Any]] = {_aten.addmm.default: _aten.mm.default, _aten.baddbmm.default: _aten.bmm.default}
_VIEWS: Final = (_aten.permute.default, _aten.transpose.int, _aten.expand.default, _aten.view.default)


class Bf16Products(CustomGraphPass):
    """Rounds the factors of products to bf16 (8 bits), and the products too; sums within a product are float32.

    Torch can do the former by itself (``set_float32_matmul_precision("medium")``): oneDNN then rounds and reorders both
    factors within each product, which took as long as the product itself where they were (512, 1024) and (1024, 1024).
    Here they are rounded once, in the loops that compute them, and take half the memory. The gradient of a critic with
    five layers of 256 units was as exact either way (0.5 %), and for 30,720 samples took 396 ms instead of 476 (839 in
    float32); an update of CrossQ with critics of 1024 units took 35 ms instead of 58 (102).
    """

    def __call__(self, graph: Graph) -> None:
        """Replace the products in `graph`."""
        rounded: dict[Node, Node] = {}
        for node in list(graph.nodes):
            factors = _factors(node)
            if factors and all(_is_wide(factor) for factor in factors):
                with graph.inserting_before(node):
                    node.replace_all_uses_with(_in_bf16(graph, node, factors, rounded))
                graph.erase_node(node)

    def uuid(self) -> str:
        """Tells graphs with this pass from others in inductor's cache on disk."""
        return f"{__name__}-1-{NARROW}"


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


def _in_bf16(graph: Graph, node: Node, factors: tuple[Node, Node], rounded: dict[Node, Node]) -> Node:
    """The product of `factors`, and what is added to it, as a float32 node."""
    operation = (_PLAIN | _WITH_SUMMAND)[node.target]
    product = _call(graph, operation, *(_rounded(graph, factor, rounded) for factor in factors))
    result = _cast(graph, product, torch.float32)
    return _call(graph, _aten.add.Tensor, result, node.args[0]) if node.target in _WITH_SUMMAND else result


def _rounded(graph: Graph, node: Node, rounded: dict[Node, Node]) -> Node:
    """`node` in bf16, once for all its uses; views of it are views of that."""
    if node not in rounded:
        if node.op == "call_function" and node.target in _VIEWS:
            base = _rounded(graph, node.args[0], rounded)  # type: ignore[arg-type]
            rounded[node] = _call(graph, node.target, base, *node.args[1:])
        else:
            rounded[node] = _cast(graph, node, torch.bfloat16)
    return rounded[node]


def _cast(graph: Graph, node: Node, dtype: torch.dtype) -> Node:
    return _call(graph, torch.ops.prims.convert_element_type.default, node, dtype)


def _call(graph: Graph, target: Any, *args: Any) -> Node:
    node = graph.call_function(target, args)
    node.meta["val"] = target(*(arg.meta["val"] if isinstance(arg, Node) else arg for arg in args))
    return node
