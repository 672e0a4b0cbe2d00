"""Comparing states and transitions bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["copy_of", "equal", "first_difference"]


def equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same shape, dtype and values, where NaN equals NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())


def first_difference(a: Any, b: Any, path: str = "") -> str | None:
    """The path of the first place where two trees of tensors and values differ, or None."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if set(a) != set(b):
            return f"{path} (keys {sorted(a)} and {sorted(b)})"
        pairs = [(a[key], b[key], f"{path}.{key}" if path else str(key)) for key in a]
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        pairs = [(x, y, f"{path}[{index}]") for index, (x, y) in enumerate(zip(a, b, strict=True))]
    else:
        return None if _equal_leaves(a, b) else path or "the value"
    return next((found for x, y, where in pairs if (found := first_difference(x, y, where))), None)


def _equal_leaves(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor | np.ndarray) and isinstance(b, Tensor | np.ndarray):
        return equal(torch.as_tensor(a), torch.as_tensor(b))
    return bool(a == b or (a != a and b != b))


def copy_of(tree: Any) -> Any:
    """A tree of tensors and values that shares nothing with this one."""
    if isinstance(tree, Tensor | np.ndarray):
        return torch.as_tensor(tree).detach().clone()
    if isinstance(tree, Mapping):
        return {key: copy_of(value) for key, value in tree.items()}
    return [copy_of(value) for value in tree] if isinstance(tree, list | tuple) else tree
