"""EnvPool's arrays and spaces in the form of the contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from slmk.errors import Problem, SpecError

__all__ = ["Group", "action_space", "groups"]

_NO_LIMIT = (np.finfo(np.float32), np.finfo(np.float64))


@dataclass(frozen=True, slots=True)
class Group:
    """One observation group: where it is among EnvPool's arrays, and what becomes of it."""

    name: str
    """The keys of the nested observation joined by ``/``, or ``obs`` where there is one array only."""
    index: int
    """Position among the arrays that EnvPool returns."""
    space: spaces.Space[Any]
    """The space of the tensors."""
    dtype: npt.DTypeLike
    """The dtype of the tensors."""


def groups(pool: Any) -> list[Group]:
    """The observation groups of a pool, in EnvPool's order."""
    keys = [(index, key) for index, key in enumerate(pool._state_keys) if key == "obs" or key.startswith("obs:")]
    found = []
    for index, key in keys:
        path = key.removeprefix("obs").lstrip(":").replace(":", ".").split(".") if len(keys) > 1 else []
        space = pool.observation_space
        for part in path:
            space = space[part]
        found.append(_group("/".join(path) or "obs", index, space))
    return found


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


def _group(name: str, index: int, space: spaces.Space[Any]) -> Group:
    if isinstance(space, spaces.MultiBinary):
        return Group(name, index, space, np.bool_)
    if space.dtype == np.uint8:
        return Group(name, index, space, np.uint8)
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return Group(name, index, _float32(space), np.float32)
    return Group(name, index, space, np.int64)


def _float32(space: spaces.Box) -> spaces.Box:
    """The box in float32, with infinite bounds where EnvPool writes C++'s limits: the tiniest and the largest float."""
    low, high = space.low, space.high
    for limits in _NO_LIMIT:
        low = np.where((low == limits.tiny) | (low == limits.min), -np.inf, low)
        high = np.where(high == limits.max, np.inf, high)
    return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def _unsupported(what: str) -> Problem:
    return Problem(f"{what}, which is not supported", path="env.id", expected="one player and one array of actions")
