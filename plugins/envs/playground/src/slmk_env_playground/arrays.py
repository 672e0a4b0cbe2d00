"""Between JAX and torch: without copies on the way, and as tensors for checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from slmk.errors import CheckpointError, Problem, SpecError
from slmk_env_playground.checks import install_for_cuda

__all__ = ["Packing", "jax_device", "leaves_of", "to_jax", "to_torch", "with_leaves"]


def jax_device(device: torch.device) -> jax.Device:
    """JAX's name for a torch device.

    Raises:
        SpecError: JAX has no such device.
    """
    platform = {"cuda": "gpu"}.get(device.type, device.type)
    try:
        found = jax.devices(platform)
        return found[device.index or 0]
    except (RuntimeError, IndexError) as error:
        has = ", ".join(str(each) for each in jax.devices())
        hint = install_for_cuda() if platform == "gpu" else None
        problem = Problem(
            "JAX has no such device", "run.device", expected=f"one of {has}", found=str(device), hint=hint
        )
        raise SpecError([problem]) from error


class Packing:
    """A tree of arrays as one flat array of each type, since to hand one to torch costs the same whatever its size."""

    def __init__(self, like: Any) -> None:
        """
        Args:
            like: a tree of what has the shapes and types of the arrays.
        """
        leaves, self._tree = jax.tree.flatten(like)
        self._types = list(dict.fromkeys(leaf.dtype for leaf in leaves))
        self._sizes: list[list[int]] = [[] for _ in self._types]
        """Sizes of the arrays that lie in each flat one."""
        self._places = []
        """Place of each array of the tree: the flat array, its number there, and its shape."""
        for leaf in leaves:
            flat = self._types.index(leaf.dtype)
            self._places.append((flat, len(self._sizes[flat]), leaf.shape))
            self._sizes[flat].append(leaf.size)

    def pack(self, tree: Any) -> list[jax.Array]:
        """The flat arrays of a tree."""
        leaves = jax.tree.leaves(tree)
        return [jnp.concatenate([x.ravel() for x in leaves if x.dtype == each]) for each in self._types]

    def to_torch(self, flats: Sequence[jax.Array]) -> Any:
        """The tree of such arrays as tensors, which share their memory."""
        parts = [to_torch(flat).split(sizes) for flat, sizes in zip(flats, self._sizes, strict=True)]
        return jax.tree.unflatten(self._tree, [parts[flat][i].view(shape) for flat, i, shape in self._places])


def to_torch(x: jax.Array) -> Tensor:
    """A tensor that shares the array's memory. Nobody writes to it: arrays of JAX never change."""
    return torch.from_dlpack(x)


def to_jax(x: Tensor) -> jax.Array | np.ndarray[Any, Any]:
    """What JAX's functions take; it shares the tensor's memory, which must not be written to any more."""
    # On the CPU they take NumPy's arrays as fast as their own, and DLPack alone would be a tenth of a millisecond.
    if x.device.type == "cpu":
        return x.numpy()
    with torch.cuda.device_of(x):  # Of several GPUs, torch exports from the current one alone.
        return jax.dlpack.from_dlpack(x.contiguous())


def leaves_of(tree: Any) -> list[Tensor]:
    """All arrays of a tree, in order, as tensors of a type that checkpoints know."""
    return [torch.from_numpy(_storable(np.asarray(leaf))) for leaf in jax.tree.leaves(tree)]


def with_leaves(tree: Any, leaves: list[Tensor]) -> Any:
    """`tree` with other arrays, from `leaves_of`.

    Raises:
        CheckpointError: they are not those of such a tree.
    """
    present, structure = jax.tree.flatten(tree)
    if len(present) != len(leaves) or any(x.shape != tuple(y.shape) for x, y in zip(present, leaves, strict=False)):
        raise CheckpointError("the state is that of other environments, or of another version of MuJoCo")
    arrays = [_like(x, y.cpu().numpy()) for x, y in zip(present, leaves, strict=True)]
    return jax.tree.unflatten(structure, arrays)


def _storable(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Unsigned words, of which random keys are made, as signed ones; a copy, since JAX's memory is read-only."""
    return x.view(np.int32).copy() if x.dtype == np.uint32 else x.copy()


def _like(present: jax.Array, saved: np.ndarray[Any, Any]) -> jax.Array:
    x = saved.view(np.uint32) if present.dtype == np.uint32 else saved
    return jax.device_put(x.astype(present.dtype, copy=False), present.device)
