"""Which observation groups are pictures, and how they become planes of floats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from slmk.toolbox.encoding import WHITE, are_full_bytes

__all__ = ["Picture", "picture"]


@dataclass(frozen=True, slots=True)
class Picture:
    """How a group is read that is a picture, or a stack of them."""

    dims: int
    """Axes of one observation."""
    channels: int
    height: int
    width: int
    planes: Callable[[Tensor], Tensor]
    """Makes (R, channels, height, width) float32 of rows (R, *shape); bytes up to 255 become numbers from 0 to 1."""


def picture(space: spaces.Space[Any]) -> Picture | None:
    """How to read a group; None where it is no picture.

    Pictures are boxes of three axes, and boxes of bytes with two: (H, W, C), (C, H, W) or (H, W). A fourth axis in
    front is a stack of pictures, whose channels are put one after the other. Channels are taken to come first where the
    first axis is shorter than both others, as in Atari's stacks of four grey pictures (4, 84, 84).
    """
    if not isinstance(space, spaces.Box):
        return None
    shape, is_bytes = space.shape, space.dtype == np.uint8
    if len(shape) not in (2, 3, 4) or (len(shape) == 2 and not is_bytes):
        return None
    stack, shape = (shape[0], shape[1:]) if len(shape) == 4 else (1, shape)
    if len(shape) == 2:
        order, (channels, height, width) = _grey, (1, *shape)
    elif shape[0] < min(shape[1:]):
        order, (channels, height, width) = _as_they_are, shape
    else:
        order, (height, width, channels) = _channels_last, shape
    planes = partial(_planes, dims=len(space.shape), order=order, scaled=are_full_bytes(space))
    return Picture(len(space.shape), stack * channels, height, width, planes)


def _planes(x: Tensor, dims: int, order: Callable[[Tensor], Tensor], *, scaled: bool) -> Tensor:
    x = order(x)
    if dims == 4:
        x = x.flatten(1, 2)
    x = x.to(torch.float32)
    return x / WHITE if scaled else x


def _grey(x: Tensor) -> Tensor:
    return x.unsqueeze(-3)


def _as_they_are(x: Tensor) -> Tensor:
    return x


def _channels_last(x: Tensor) -> Tensor:
    return x.movedim(-1, -3)
