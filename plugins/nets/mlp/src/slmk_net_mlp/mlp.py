"""The multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from slmk import Obs
from slmk.protocols import Role
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.encoding import encoder
from slmk_net_mlp.initial import linear

__all__ = ["MLP"]

ACTIVATIONS: Final[dict[str, Callable[[Tensor], Tensor]]] = {
    # In place: the gradient of these needs their result alone.
    "tanh": torch.tanh_,
    "relu": torch.relu_,
    "elu": F.elu,
    "swish": F.silu,
    "gelu": F.gelu,
}


class MLP(nn.Module):
    """Observation groups, joined in order, through hidden layers to ``role.outputs`` features.

    For a small policy, overhead is as dear as arithmetic. So parameters are read straight from the module's dictionary
    rather than by walking through sub-modules, weights are (inputs, outputs), as a product takes them, and biases are
    added in place.
    """

    def __init__(
        self,
        config: MLPConfig,
        inputs: Mapping[str, spaces.Space[Any]],
        role: Role,
        generator: torch.Generator,
    ) -> None:
        """See `slmk.hookspecs.slmk_networks`.

        Raises:
            TypeError: a group's space cannot become a vector.
        """
        super().__init__()
        self._activation = ACTIVATIONS[config.activation]
        encoders = {name: encoder(name, space) for name, space in inputs.items()}
        self._encoders = tuple((name, encode) for name, (encode, _) in encoders.items())
        widths = (sum(width for _, width in encoders.values()), *config.hidden)
        hidden_gain = math.sqrt(2) if config.init == "orthogonal" else 1.0
        for index, (width, wider) in enumerate(pairwise(widths)):
            self._add(str(index), linear(width, wider, config.init, generator, gain=hidden_gain))
        self._add("out", linear(widths[-1], role.outputs, config.init, generator, gain=config.out_gain or role.gain))
        self._hidden = tuple((f"weight_{index}", f"bias_{index}") for index in range(len(config.hidden)))
        self.norms = nn.ModuleList(_norm(config, width) for width in config.hidden) if _has_norm(config) else None

    def forward(self, obs: Obs) -> Tensor:
        """Groups, each (*batch, *shape), to features (*batch, outputs)."""
        parameters, norms = self._parameters, self.norms
        encoded = [encode(obs[name]) for name, encode in self._encoders]
        x = encoded[0] if len(encoded) == 1 else torch.cat(encoded, -1)
        for index, (weight, bias) in enumerate(self._hidden):
            x = (x @ parameters[weight]).add_(parameters[bias])  # type: ignore[operator,arg-type]
            x = self._activation(x if norms is None else norms[index](x))
        return (x @ parameters["weight_out"]).add_(parameters["bias_out"])  # type: ignore[operator,arg-type]

    def _add(self, name: str, layer: tuple[nn.Parameter, nn.Parameter]) -> None:
        for kind, parameter in zip(("weight", "bias"), layer, strict=True):
            self.register_parameter(f"{kind}_{name}", parameter)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation over all leading axes, by the batch where gradients are computed, else by running statistics.

    So acting and bootstrapping never depend on the other members of a batch, and one environment is enough to act.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (*batch, features)."""
        learning = torch.is_grad_enabled()
        flat = x.reshape(-1, x.shape[-1])
        return F.batch_norm(
            flat, self.running_mean, self.running_var, self.weight, self.bias, learning, self.momentum or 0.0, self.eps
        ).view_as(x)


def _has_norm(config: MLPConfig) -> bool:
    return config.layer_norm or config.batch_norm


def _norm(config: MLPConfig, width: int) -> nn.Module:
    return nn.LayerNorm(width) if config.layer_norm else BatchNorm(width)
