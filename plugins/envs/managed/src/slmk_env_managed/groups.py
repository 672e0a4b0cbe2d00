"""Observation groups: nested tensors of a simulator as flat groups that nobody overwrites, and their spaces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from slmk.batch import Obs

__all__ = ["flat", "mixed", "named", "space_of"]


def flat(obs: Mapping[str, Any]) -> Obs:
    """Copies of all tensors (N, …) by group; a group of several terms becomes one group per term, ``group/term``."""
    groups: Obs = {}
    for name, value in obs.items():
        if isinstance(value, Mapping):
            groups |= {f"{name}/{term}": x for term, x in flat(value).items()}
        else:
            groups[name] = _typed(value)
    return groups


def mixed(mask: Tensor, yes: Obs, no: Obs) -> Obs:
    """The rows of `yes` where the mask (N,) is set, those of `no` elsewhere."""
    return {name: torch.where(mask.reshape(-1, *[1] * (x.ndim - 1)), yes[name], x) for name, x in no.items()}


def named(groups: Iterable[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """Those of `groups`, as `flat` names them, that belong to a wanted group of the simulator."""
    groups = tuple(groups)
    return tuple(name for group in wanted for name in groups if name == group or name.startswith(f"{group}/"))


def space_of(x: Tensor) -> spaces.Space[Any]:
    """The space of a group (N, *shape), by its dtype: simulators state no bounds."""
    shape = tuple(x.shape[1:])
    if x.dtype == torch.bool:
        return spaces.MultiBinary(shape)
    if x.dtype == torch.uint8:
        return spaces.Box(0, 255, shape, np.uint8)
    if x.dtype == torch.int64:
        limits = np.iinfo(np.int64)
        return spaces.Box(limits.min, limits.max, shape, np.int64)
    return spaces.Box(-np.inf, np.inf, shape, np.float32)


def _typed(x: Tensor) -> Tensor:
    """A copy in the type that the contract has for it: float32, uint8, bool or int64."""
    if x.dtype in (torch.bool, torch.uint8):
        return x.clone()
    return x.to(torch.float32 if x.is_floating_point() else torch.int64, copy=True)
