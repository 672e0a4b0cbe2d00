"""The convolutional network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from slmk import Obs, Problem, SpecError
from slmk.protocols import Role
from slmk.toolbox.encoding import encoder
from slmk.toolbox.layers import ACTIVATIONS, affine, linear
from slmk_net_conv import ConvConfig
from slmk_net_conv.pictures import Picture, picture

__all__ = ["Conv"]

Draw = Callable[..., tuple[nn.Parameter, nn.Parameter]]
"""`slmk.toolbox.layers.linear` with the network's generator and members."""
Weights = Mapping[str, Any]
"""Parameters by name; those of an ensemble, or of some of its members, with an axis in front."""
POOL = 2
"""Places in each direction of which `ConvConfig.max_pool` keeps the largest."""


@dataclass(frozen=True, slots=True)
class _Convolution:
    name: str
    """Name of the layer's parameters."""
    stride: int
    padding: tuple[int, int, int, int]
    """Zeros at the left, right, top and bottom."""


class Conv(nn.Module):
    """Pictures through convolutions, then with all other groups through layers to ``role.outputs`` features.

    Each group that is a picture has convolutions of its own. What is no picture, and the extra inputs of the role, such
    as the action of which a critic is asked, joins behind them.

    The convolutions of an ensemble's members are one convolution in groups, and their layers one batched product.
    """

    def __init__(
        self,
        config: ConvConfig,
        inputs: Mapping[str, spaces.Space[Any]],
        role: Role,
        generator: torch.Generator,
    ) -> None:
        """See `slmk.hookspecs.slmk_networks`.

        Raises:
            SpecError: no group is a picture, a picture is too small for the convolutions, or another group's space
                cannot become a vector.
        """
        super().__init__()
        self._config, self._is_ensemble = config, role.ensemble > 0
        self._conv_activation, self._activation = ACTIVATIONS[config.conv_activation], ACTIVATIONS[config.activation]
        pictures = {name: found for name, space in inputs.items() if (found := picture(space)) is not None}
        if not pictures:
            expected, hint = "a box (H, W, C), (C, H, W), a stack of them, or bytes (H, W)", "take the network mlp"
            message, groups = "no observation group is a picture", (f"{name}: {x}" for name, x in inputs.items())
            raise SpecError([Problem(message, "network", expected=expected, found=", ".join(groups), hint=hint)])
        draw = partial(linear, generator=generator, ensemble=role.ensemble)
        self._pictures: list[tuple[str, Picture, list[_Convolution]]] = []
        width = 0
        for index, (name, found) in enumerate(pictures.items()):
            convolutions, features = self._convolutions(f"conv_{index}", name, found, draw)
            self._pictures.append((name, found, convolutions))
            width += features
        encoders = {name: encoder(name, space) for name, space in inputs.items() if name not in pictures}
        self._encoders = tuple((name, encode) for name, (encode, _) in encoders.items())
        widths = (width + sum(wide for _, wide in encoders.values()), *config.hidden)
        self._hidden = [f"hidden_{index}" for index in range(len(config.hidden))]
        for hidden, (width, wider) in zip(self._hidden, pairwise(widths), strict=True):
            self._add(hidden, *draw(width, wider, config.init, gain=_gain(config.init)))
        self._add("out", *draw(widths[-1], role.outputs, config.init, gain=config.out_gain or role.gain))

    def forward(self, obs: Obs, members: Tensor | None = None) -> Tensor:
        """Groups, each (*batch, *shape), to features (*batch, outputs); of an ensemble (members, *batch, outputs).

        Args:
            obs: the groups; all members of an ensemble read the same.
            members: indices (K,) int64 of those members of an ensemble that are asked; all by default.
        """
        weights: Weights = self._parameters
        if members is not None:
            weights = {name: parameter[members] for name, parameter in weights.items()}
        name, first, _ = self._pictures[0]
        batch = obs[name].shape[: obs[name].dim() - first.dims]
        features = [self._features(obs[name], found, each, weights) for name, found, each in self._pictures]
        for name, encode in self._encoders:
            x = encode(obs[name])
            features.append(x.reshape(-1, x.shape[-1]).expand(*features[0].shape[:-1], x.shape[-1]))
        x = features[0] if len(features) == 1 else torch.cat(features, -1)
        for hidden in self._hidden:
            x = self._activation(_map(x, weights, hidden))
        x = _map(x, weights, "out")
        return x.reshape(*x.shape[:-2], *batch, x.shape[-1])

    def _features(self, x: Tensor, found: Picture, convolutions: Sequence[_Convolution], weights: Weights) -> Tensor:
        """Of pictures (*batch, *shape): (R, features), or (members, R, features) of an ensemble."""
        x = found.planes(x.reshape(-1, *x.shape[x.dim() - found.dims :]))
        members = len(weights["bias_out"]) if self._is_ensemble else 1
        for index, convolution in enumerate(convolutions):
            weight, bias = weights[f"weight_{convolution.name}"], weights[f"bias_{convolution.name}"]
            if self._is_ensemble:
                weight, bias = weight.flatten(0, 1), bias.flatten()
            if any(convolution.padding):
                x = F.pad(x, convolution.padding)
            groups = members if index > 0 else 1  # All members read the same picture.
            x = self._conv_activation(F.conv2d(x, weight, bias, convolution.stride, groups=groups))
            if self._config.max_pool:
                x = F.max_pool2d(x, POOL, ceil_mode=True)
        x = x.mean((-2, -1)) if self._config.global_pool == "mean" else x.flatten(1)
        return x.view(len(x), members, -1).transpose(0, 1) if self._is_ensemble else x

    def _convolutions(self, prefix: str, group: str, found: Picture, draw: Draw) -> tuple[list[_Convolution], int]:
        """The convolutions over a group, and how many features they give."""
        config = self._config
        channels, height, width = found.channels, found.height, found.width
        convolutions = []
        for index, (filters, kernel, stride) in enumerate(
            zip(config.channels, config.kernels, config.strides, strict=True)
        ):
            top, bottom = _padding(height, kernel, stride) if config.padding == "same" else (0, 0)
            left, right = _padding(width, kernel, stride) if config.padding == "same" else (0, 0)
            padded = height + top + bottom, width + left + right
            if min(padded) < kernel:
                raise SpecError([_too_small(group, found, index, height, width, kernel)])
            height, width = ((size - kernel) // stride + 1 for size in padded)
            if config.max_pool:
                height, width = (math.ceil(size / POOL) for size in (height, width))
            name = f"{prefix}_{index}"
            self._add(name, *self._filters(channels, filters, kernel, draw))
            convolutions.append(_Convolution(name, stride, (left, right, top, bottom)))
            channels = filters
        return convolutions, channels * (1 if config.global_pool == "mean" else height * width)

    def _filters(self, channels: int, filters: int, kernel: int, draw: Draw) -> tuple[nn.Parameter, nn.Parameter]:
        """Weight (filters, channels, kernel, kernel) and bias (filters,); of an ensemble with an axis in front."""
        scheme = self._config.conv_init
        weight, bias = (x.detach() for x in draw(channels * kernel * kernel, filters, scheme, gain=_gain(scheme)))
        members = weight.shape[:-2]
        places = weight.transpose(-2, -1).reshape(*members, filters, channels, kernel, kernel)
        return nn.Parameter(places), nn.Parameter(bias.reshape(*members, filters))

    def _add(self, name: str, weight: nn.Parameter, bias: nn.Parameter) -> None:
        self.register_parameter(f"weight_{name}", weight)
        self.register_parameter(f"bias_{name}", bias)


def _map(x: Tensor, weights: Weights, name: str) -> Tensor:
    return affine(x, weights[f"weight_{name}"], weights[f"bias_{name}"])


def _gain(scheme: str) -> float:
    """Of layers with a nonlinearity behind them."""
    return math.sqrt(2) if scheme == "orthogonal" else 1.0


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, so that there is a place at every multiple of the stride; one more after, if odd."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _too_small(group: str, found: Picture, index: int, height: int, width: int, kernel: int) -> Problem:
    size = f"{found.height} × {found.width}"
    message = f"the pictures of the group '{group}' are too small ({size})"
    why = f"{height} × {width} are left for filters of {kernel} × {kernel} in convolution {index + 1}"
    return Problem(message, "network", found=why, hint='fewer or smaller kernels or strides, or padding = "same"')
