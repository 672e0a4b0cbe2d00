"""EnvPool's arrays and spaces in the form of the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from slmk.errors import Problem, SpecError, did_you_mean

__all__ = ["Group", "action_space", "groups", "joined"]

_NO_LIMIT = (np.finfo(np.float32), np.finfo(np.float64))


@dataclass(frozen=True, slots=True)
class Group:
    """One observation group: where it is among EnvPool's arrays, and what becomes of it."""

    name: str
    """The keys of the nested observation joined by ``/``, or ``obs`` where there is one array only; or the spec's."""
    places: tuple[int, ...]
    """Position among the arrays that EnvPool returns; of a group that was made of several, theirs."""
    space: spaces.Space[Any]
    """The space of the tensors."""
    dtype: npt.DTypeLike
    """The dtype of the tensors."""

    @property
    def is_vector(self) -> bool:
        """Whether it is one row of real numbers, or a single one."""
        return self.dtype is np.float32 and len(self.space.shape or ()) < 2

    def read(self, arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The group's values (M, *shape) of M environments, of what EnvPool returned."""
        if len(self.places) == 1:
            return arrays[self.places[0]].astype(self.dtype, copy=False)
        # A number for each environment comes without an axis of its own.
        parts = (arrays[place].reshape(len(arrays[place]), -1) for place in self.places)
        return np.concatenate([*parts], axis=1, dtype=self.dtype)


def groups(pool: Any) -> list[Group]:
    """The observation groups of a pool, in EnvPool's order."""
    keys = [(index, key) for index, key in enumerate(pool._state_keys) if key == "obs" or key.startswith("obs:")]
    found = []
    for index, key in keys:
        path = key.removeprefix("obs").lstrip(":").replace(":", ".").split(".") if len(keys) > 1 else []
        space = pool.observation_space
        for part in path:
            space = space[part]
        found.append(_group("/".join(path) or "obs", (index,), space))
    return found


def joined(found: Sequence[Group], wanted: Mapping[str, Sequence[str]]) -> list[Group]:
    """Groups made of others, one after the other in a vector; `found` itself if none is wanted.

    Raises:
        SpecError: there is no such group, or one of several is no vector of real numbers.
    """
    known = {group.name: group for group in found}
    problems = [
        _no_part(part, known, f"env.groups.{name}")
        for name, parts in wanted.items()
        for part in parts
        if part not in known or (len(parts) > 1 and not known[part].is_vector)
    ]
    if problems:
        raise SpecError(problems)
    return [_joined(name, [known[part] for part in parts]) for name, parts in wanted.items()] or list(found)


def action_space(pool: Any) -> spaces.Space[Any]:
    """The action space of one environment: integer boxes become MultiDiscrete.

    Raises:
        SpecError: several players, or an action in several parts.
    """
    space = pool.action_space
    if pool.config.get("max_num_players", 1) > 1:
        raise SpecError([_unsupported("the environment has several players")])
    match space:
        case spaces.Box() if np.issubdtype(space.dtype, np.integer):
            return spaces.MultiDiscrete(space.high - space.low.astype(np.int64) + 1, start=space.low.astype(np.int64))
        case spaces.Box():
            return _float32(space)
        case spaces.Discrete() | spaces.MultiBinary():
            return space
    raise SpecError([_unsupported(f"the action is {space}")])


def _joined(name: str, parts: Sequence[Group]) -> Group:
    if len(parts) == 1:
        return replace(parts[0], name=name)
    low, high = (np.concatenate([np.ravel(getattr(part.space, bound)) for part in parts]) for bound in ("low", "high"))
    places = tuple(place for part in parts for place in part.places)
    return Group(name, places, spaces.Box(low, high, dtype=np.float32), np.float32)


def _no_part(name: str, known: Mapping[str, Group], path: str) -> Problem:
    if name in known:
        return Problem("only vectors of real numbers can be joined", path, found=f"{name}: {known[name].space}")
    hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
    return Problem("no such observation group", path, found=f"'{name}'", hint=hint)


def _group(name: str, places: tuple[int, ...], space: spaces.Space[Any]) -> Group:
    if isinstance(space, spaces.MultiBinary):
        return Group(name, places, space, np.bool_)
    if space.dtype == np.uint8:
        return Group(name, places, space, np.uint8)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return Group(name, places, _float32(space), np.float32)
    return Group(name, places, space, np.int64)


def _float32(space: spaces.Box) -> spaces.Box:
    """The box in float32, with infinite bounds where EnvPool writes C++'s limits: the tiniest and the largest float."""
    low, high = space.low, space.high
    for limits in _NO_LIMIT:
        low = np.where((low == limits.tiny) | (low == limits.min), -np.inf, low)
        high = np.where(high == limits.max, np.inf, high)
    return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def _unsupported(what: str) -> Problem:
    return Problem(f"{what}, which is not supported", path="env.id", expected="one player and one array of actions")
