"""What layers of networks are made of: activations, initial weights and the affine map."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slmk.config import Activation, Init

__all__ = ["ACTIVATIONS", "affine", "linear"]

ACTIVATIONS: Final[dict[Activation, Callable[[Tensor], Tensor]]] = {
    # In place: the gradient of these needs their result alone.
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "elu": F.elu,
    "swish": F.silu,
    "gelu": F.gelu,
}
"""Activation functions by name. They may write to their argument."""
SPREAD: Final[dict[Init, float]] = {"lecun_uniform": 3.0, "kaiming_uniform": 6.0, "pytorch": 1.0}
"""k of the uniform schemes, which draw weights from ±√(k / inputs)."""


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W + b, a new tensor.

    Args:
        x: rows (R, inputs); or (E, R, inputs), or rows that all members share, for an ensemble of E.
        weight: (inputs, outputs); (E, inputs, outputs) for an ensemble.
        bias: (outputs,); (E, 1, outputs) for an ensemble.

    Returns:
        (R, outputs), or (E, R, outputs).
    """
    if weight.dim() == 2:
        return torch.addmm(bias, x, weight)
    return torch.baddbmm(bias, x.expand(len(weight), -1, -1), weight)


def linear(
    inputs: int, outputs: int, scheme: Init, generator: torch.Generator, *, gain: float = 1.0, ensemble: int = 0
) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight and bias of a linear layer, in the shapes that `affine` takes.

    Args:
        inputs: width of what comes in.
        outputs: width of what goes out.
        scheme: see `slmk.config.Init`.
        generator: draws the weights.
        gain: factor on the scheme's weights.
        ensemble: E members, each drawn for itself; 0 for a single layer.
    """
    if not ensemble:
        weight, bias = _draw(inputs, outputs, scheme, generator, gain)
        return nn.Parameter(weight), nn.Parameter(bias)
    weights, biases = zip(*(_draw(inputs, outputs, scheme, generator, gain) for _ in range(ensemble)), strict=True)
    return nn.Parameter(torch.stack(weights)), nn.Parameter(torch.stack(biases).unsqueeze(1))


def _draw(inputs: int, outputs: int, scheme: Init, generator: torch.Generator, gain: float) -> tuple[Tensor, Tensor]:
    weight, bias = torch.empty(outputs, inputs), torch.zeros(outputs)
    if scheme == "orthogonal":
        nn.init.orthogonal_(weight, gain, generator=generator)
    else:
        bound = math.sqrt(SPREAD[scheme] / inputs)
        weight.uniform_(-bound, bound, generator=generator).mul_(gain)
        if scheme == "pytorch":
            bias.uniform_(-bound, bound, generator=generator)
    return weight.T.contiguous(), bias
