"""Initial weights, drawn from a given generator alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["linear"]

# Uniform schemes: weights are drawn from ±√(k / inputs).
SPREAD = {"lecun_uniform": 3.0, "kaiming_uniform": 6.0, "pytorch": 1.0}


def linear(
    inputs: int, outputs: int, scheme: str, generator: torch.Generator, *, gain: float = 1.0
) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight (inputs, outputs) and bias (outputs,) of a linear layer.

    Args:
        inputs: width of what comes in.
        outputs: width of what goes out.
        scheme: as ``MLPConfig.init``.
        generator: draws the weights.
        gain: factor on the scheme's weights. Orthogonal ones have singular values `gain`.
    """
    weight, bias = torch.empty(outputs, inputs), torch.zeros(outputs)
    if scheme == "orthogonal":
        _orthogonal(weight, gain, generator)
    else:
        bound = math.sqrt(SPREAD[scheme] / inputs)
        weight.uniform_(-bound, bound, generator=generator).mul_(gain)
        if scheme == "pytorch":
            bias.uniform_(-bound, bound, generator=generator)
    return nn.Parameter(weight.T.contiguous()), nn.Parameter(bias)


def _orthogonal(weight: Tensor, gain: float, generator: torch.Generator) -> None:
    nn.init.orthogonal_(weight, gain, generator=generator)
