"""The multilayer perceptron."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from slmk import Obs
from slmk.protocols import Role
from slmk.toolbox.encoding import encoder
from slmk.toolbox.layers import ACTIVATIONS, linear
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.dropout import Dropout
from slmk_net_mlp.norms import norm

__all__ = ["MLP"]


class MLP(nn.Module):
    """Observation groups, joined in order, through hidden layers to ``role.outputs`` features.

    For a small policy, overhead is as dear as arithmetic. So parameters are read straight from the module's dictionary
    rather than by walking through sub-modules, weights are (inputs, outputs), as a product takes them, and biases are
    added in place. The members of an ensemble are one batched product a layer: their weights are (members, inputs,
    outputs), their biases (members, 1, outputs).
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
            SpecError: a group's space cannot become a vector.
        """
        super().__init__()
        self._activation = ACTIVATIONS[config.activation]
        self._norm_first = config.norm_position == "before"
        self._is_ensemble = role.ensemble > 0
        encoders = {name: encoder(name, space) for name, space in inputs.items()}
        self._encoders = tuple((name, encode) for name, (encode, _) in encoders.items())
        widths = (sum(width for _, width in encoders.values()), *config.hidden)
        hidden_gain = math.sqrt(2) if config.init == "orthogonal" else 1.0
        layer = partial(linear, scheme=config.init, generator=generator, ensemble=role.ensemble)
        for index, (width, wider) in enumerate(pairwise(widths)):
            self._add(str(index), layer(width, wider, gain=hidden_gain))
        self._add("out", layer(widths[-1], role.outputs, gain=config.out_gain or role.gain))
        self._hidden = tuple((f"weight_{index}", f"bias_{index}") for index in range(len(config.hidden)))
        self.input_norm = norm(config, widths[0], role.ensemble) if config.norm_input else None
        has_norms = config.norm != "none"
        self.norms = nn.ModuleList(norm(config, x, role.ensemble) for x in config.hidden) if has_norms else None
        drops = config.dropout > 0
        self.dropouts = nn.ModuleList(Dropout(config.dropout, generator) for _ in config.hidden) if drops else None
        self._is_plain = not (has_norms or drops)

    def forward(self, obs: Obs, members: Tensor | None = None) -> Tensor:
        """Groups, each (*batch, *shape), to features (*batch, outputs); of an ensemble (members, *batch, outputs).

        Args:
            obs: the groups; all members of an ensemble read the same.
            members: indices (K,) int64 of those members of an ensemble that are asked; all by default.
        """
        encoded = [encode(obs[name]) for name, encode in self._encoders]
        x = encoded[0] if len(encoded) == 1 else torch.cat(encoded, -1)
        if self._is_ensemble:
            return self._ensemble(x, members)
        parameters, is_plain, activation = self._parameters, self._is_plain, self._activation
        if self.input_norm is not None:
            x = self.input_norm(x)
        for index, (weight, bias) in enumerate(self._hidden):
            x = (x @ parameters[weight]).add_(parameters[bias])  # type: ignore[operator,arg-type]
            x = activation(x) if is_plain else self._activate(x, index, None)
        return (x @ parameters["weight_out"]).add_(parameters["bias_out"])  # type: ignore[operator,arg-type]

    def _ensemble(self, x: Tensor, members: Tensor | None) -> Tensor:
        """(*batch, inputs) to (members, *batch, outputs)."""
        batch = x.shape[:-1]
        parameters: Mapping[str, Any] = self._parameters
        if members is not None:
            parameters = {name: parameter[members] for name, parameter in parameters.items()}
        x = x.reshape(-1, x.shape[-1]).expand(len(parameters["bias_out"]), -1, -1)
        if self.input_norm is not None:
            x = self.input_norm(x, members)
        for index, (weight, bias) in enumerate(self._hidden):
            # Not `baddbmm`, which writes the biases out in full before the product.
            x = torch.bmm(x, parameters[weight]).add_(parameters[bias])
            x = self._activation(x) if self._is_plain else self._activate(x, index, members)
        weight = parameters["weight_out"]
        # A single output as a sum, which a compiler joins with the layer before: 2 % of an update of SAC.
        out = (x * weight.mT).sum(-1, keepdim=True) if weight.shape[-1] == 1 else torch.bmm(x, weight)
        return out.add_(parameters["bias_out"]).view(len(out), *batch, -1)

    def _activate(self, x: Tensor, index: int, members: Tensor | None) -> Tensor:
        """Dropout, normalisation and activation of a layer's product, the last two in the order of the config."""
        if self.dropouts is not None and self._is_training:
            x = self.dropouts[index](x)
        if self.norms is None:
            return self._activation(x)
        if self._norm_first:
            return self._activation(self.norms[index](x, members))
        return self.norms[index](self._activation(x), members)  # type: ignore[no-any-return]

    @property
    def _is_training(self) -> bool:
        """Whether gradients with respect to the parameters are computed: so `slmk.Learner` trains, and nobody else."""
        return torch.is_grad_enabled() and self._parameters["bias_out"].requires_grad  # type: ignore[union-attr]

    def _add(self, name: str, layer: tuple[nn.Parameter, nn.Parameter]) -> None:
        for kind, parameter in zip(("weight", "bias"), layer, strict=True):
            self.register_parameter(f"{kind}_{name}", parameter)
