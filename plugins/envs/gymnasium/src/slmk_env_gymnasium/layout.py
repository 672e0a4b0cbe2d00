"""Observation spaces as groups: which arrays one observation fills, and with which types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from slmk.errors import Problem, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Array", "Arrays", "Layout", "within_float32"]

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
"""Observation groups by name, each (N, *shape)."""

_PLAIN = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class Layout:
    """The groups of an observation space: ``obs``, or one per key of a Dict, nested keys joined by ``/``."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        """Lay out a space.

        Raises:
            SpecError: the space is, or contains, one that has no tensor form.
        """
        leaves = list(_leaves(space, ()))
        self.spaces = {"/".join(path) or "obs": _as_float32(leaf) for path, leaf in leaves}
        self._paths = [path for path, _ in leaves]
        self._shapes = [(name, leaf.shape or (), _dtype(leaf)) for name, leaf in self.spaces.items()]
        self._single = self._paths == [()]

    def empty(self, num_envs: int) -> Arrays:
        """New arrays for `num_envs` observations."""
        return {name: np.empty((num_envs, *shape), dtype) for name, shape, dtype in self._shapes}

    def write(self, out: Arrays, row: int, obs: Any) -> None:
        """Copy one environment's observation into row `row` of `out`."""
        if self._single:
            out["obs"][row] = obs
            return
        for array, path in zip(out.values(), self._paths, strict=True):
            array[row] = _follow(obs, path)

    def copy(self, obs: Any) -> Arrays:
        """A batched observation of the environment's own, as new arrays in groups."""
        return {
            name: np.array(_follow(obs, path), dtype)
            for (name, _, dtype), path in zip(self._shapes, self._paths, strict=True)
        }


def within_float32(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of tensors of actions: as that of observations, but nowhere beyond the bounds of the space given.

    The float32 nearest to 0.1 is above it, so that as a bound of actions it would be one that the environment refuses.
    """
    near = _as_float32(space)
    if near is space or not isinstance(near, spaces.Box) or not isinstance(space, spaces.Box):
        return near
    below, above = near.low < space.low, near.high > space.high
    low = np.nextafter(near.low, np.float32(np.inf), where=below & np.isfinite(near.low), out=near.low.copy())
    high = np.nextafter(near.high, np.float32(-np.inf), where=above & np.isfinite(near.high), out=near.high.copy())
    return spaces.Box(low, high, dtype=np.float32)


def _as_float32(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space of the tensors: a float Box of another precision becomes a float32 one."""
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating) and space.dtype != np.float32:
        return spaces.Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)
    return space


def _leaves(space: spaces.Space[Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], spaces.Space[Any]]]:
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            yield from _leaves(part, (*path, str(key)))
    elif isinstance(space, _PLAIN):
        yield path, space
    else:
        raise SpecError([_unsupported(space, path)])


def _unsupported(space: spaces.Space[Any], path: tuple[str, ...]) -> Problem:
    where = f"the observation '{'/'.join(path)}'" if path else "the observation"
    return Problem(
        f"{where} is a {type(space).__name__} space, which has no tensor form",
        path="env.id",
        expected="Box, Discrete, MultiDiscrete, MultiBinary, or a Dict of these",
        hint="register a variant of the environment whose wrapper returns one of these",
    )


def _dtype(space: spaces.Space[Any]) -> npt.DTypeLike:
    if isinstance(space, spaces.MultiBinary):
        return np.bool_
    dtype = np.dtype(space.dtype)
    if dtype in (np.float32, np.uint8, np.bool_):
        return dtype
    return np.float32 if np.issubdtype(dtype, np.floating) else np.int64


def _follow(obs: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        obs = obs[key]
    return obs
