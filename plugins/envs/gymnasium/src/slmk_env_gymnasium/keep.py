"""Hiding parts of observations, such as velocities, so that a policy has to remember."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from slmk.errors import Problem, SpecError, did_you_mean

if TYPE_CHECKING:
    from slmk_env_gymnasium.layout import Array

__all__ = ["Selection"]


class Selection:
    """Keeps some entries, along the first axis, of some observation groups."""

    def __init__(self, whole: Mapping[str, spaces.Space[Any]], keep: Mapping[str, Sequence[int]]) -> None:
        """Select from the groups of `whole`; those that `keep` does not name stay as they are.

        Raises:
            SpecError: there is no such group, or no such entry, or the group is not a Box with an axis.
        """
        if problems := [problem for name, index in keep.items() for problem in _problems(whole, name, index)]:
            raise SpecError(problems)
        self._index = {name: np.array(index) for name, index in keep.items()}
        self.spaces: dict[str, spaces.Space[Any]] = {
            name: _part(space, self._index[name]) if name in keep else space for name, space in whole.items()
        }
        """The groups that are left."""

    def __call__(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """The selected entries of batches (N, *shape), as new arrays; the very same dict where all is kept."""
        if not self._index:
            return arrays
        selected = {name: np.take(arrays[name], index, axis=1) for name, index in self._index.items()}
        return {**arrays, **selected}


def _part(space: spaces.Space[Any], index: Array) -> spaces.Box:
    assert isinstance(space, spaces.Box)
    return spaces.Box(space.low[index], space.high[index], dtype=space.dtype)


def _problems(whole: Mapping[str, spaces.Space[Any]], name: str, index: Sequence[int]) -> list[Problem]:
    path, space = f"env.keep.{name}", whole.get(name)
    if space is None:
        message, hint = "the environment has no such observation group", did_you_mean(name, whole)
        return [Problem(message, path, expected=" or ".join(whole), found=name, hint=hint)]
    if not isinstance(space, spaces.Box) or not space.shape:
        message = "entries can be selected from a Box with an axis only"
        return [Problem(message, path, expected="a Box", found=str(space), hint="leave the group whole")]
    beyond = [each for each in index if each >= space.shape[0]]
    expected = f"indices from 0 to {space.shape[0] - 1}"
    return [Problem("the group has no such entry", path, expected=expected, found=str(each)) for each in beyond]
