"""Observation groups as vectors of floats, for networks that read vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from slmk.errors import Problem, SpecError

__all__ = ["WHITE", "Encode", "are_full_bytes", "encoder"]

Encode = Callable[[Tensor], Tensor]
"""Makes vectors (*batch, width) float32 of one group (*batch, *shape)."""
WHITE: Final = 255
"""The largest byte, which becomes 1."""


def encoder(name: str, space: spaces.Space[Any]) -> tuple[Encode, int]:
    """How the group `name` becomes a vector, and how long that is.

    Box is flattened, Discrete and MultiDiscrete are one-hot vectors from their start, MultiBinary is floats. Bytes that
    fill their range, as those of pictures do, become numbers from 0 to 1.

    Raises:
        SpecError: a space of another type.
    """
    match space:
        case spaces.Box() if space.dtype == np.float32 and len(space.shape) == 1:
            return _as_is, space.shape[0]
        case spaces.Box() if are_full_bytes(space):
            return _scaled(len(space.shape)), math.prod(space.shape)
        case spaces.Box() | spaces.MultiBinary():
            return _flat(len(space.shape)), math.prod(space.shape)
        case spaces.Discrete():
            return partial(_one_hot, classes=int(space.n), start=int(space.start)), int(space.n)
        case spaces.MultiDiscrete():
            choices = tuple(zip(space.nvec.reshape(-1).tolist(), space.start.reshape(-1).tolist(), strict=True))
            flat = _flat(len(space.nvec.shape), torch.int64)
            return partial(_one_hots, flat=flat, choices=choices), sum(classes for classes, _ in choices)
    expected, hint = "Box, Discrete, MultiDiscrete or MultiBinary", "name other groups in obs"
    message = f"the group '{name}' cannot become a vector"
    raise SpecError([Problem(message, "network", expected=expected, found=str(space), hint=hint)])


def are_full_bytes(space: spaces.Box) -> bool:
    """Whether these are bytes that fill their range, as those of pictures do; those of counts, or bits, do not."""
    return space.dtype == np.uint8 and bool((space.high == WHITE).all())


def _as_is(x: Tensor) -> Tensor:
    return x


def _flat(dims: int, dtype: torch.dtype = torch.float32) -> Encode:
    """Join the last `dims` axes and convert to `dtype`; chosen once, since the usual case has nothing to join."""
    if dims == 0:
        return lambda x: x.to(dtype).unsqueeze(-1)
    if dims == 1:
        return lambda x: x.to(dtype)
    return lambda x: x.to(dtype).flatten(-dims)


def _scaled(dims: int) -> Encode:
    flat = _flat(dims)
    return lambda x: flat(x) / WHITE


def _one_hot(x: Tensor, classes: int, start: int) -> Tensor:
    return F.one_hot(x.long() - start, classes).float()


def _one_hots(x: Tensor, flat: Encode, choices: tuple[tuple[int, int], ...]) -> Tensor:
    each = zip(flat(x).unbind(-1), choices, strict=True)
    return torch.cat([_one_hot(index, *choice) for index, choice in each], -1)
