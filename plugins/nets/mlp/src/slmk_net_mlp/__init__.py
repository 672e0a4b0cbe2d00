"""Multilayer perceptrons: options and registration. The network itself is in `slmk_net_mlp.mlp`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from slmk import Component, NetworkConfig, NonNegative, PositiveInt, hookimpl

__all__ = ["MLPConfig"]


class MLPConfig(NetworkConfig):
    """Options of a multilayer perceptron: linear, normalisation if any, activation; and a linear layer at the end."""

    hidden: tuple[PositiveInt, ...] = (64, 64)
    """Widths of the hidden layers; empty for a linear map."""
    activation: Literal["tanh", "relu", "elu", "swish", "gelu"] = "tanh"
    """The nonlinearity after each hidden layer."""
    init: Literal["orthogonal", "lecun_uniform", "kaiming_uniform", "pytorch"] = "orthogonal"
    """Initial weights: ``orthogonal`` (gain √2, biases 0), ``lecun_uniform`` (±√(3 / inputs), biases 0; JAX's habit),
    ``kaiming_uniform`` (±√(6 / inputs), biases 0) or ``pytorch`` (±√(1 / inputs), biases too; that of its layers).
    The last layer's weights have gain 1 in the orthogonal scheme, and in all of them the gain of the role on top."""
    out_gain: NonNegative = 0.0
    """Gain of the last layer's weights; 0 for that of the role, which is what the algorithm asks for."""
    layer_norm: bool = False
    """Layer normalisation before each activation."""
    batch_norm: bool = False
    """Batch normalisation before each activation: by the batch's statistics where gradients are computed, by running
    ones where they are not, so that a policy does not depend on who else acts."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """One kind of normalisation at most."""
        if self.layer_norm and self.batch_norm:
            yield "batch_norm", "a layer has layer_norm or batch_norm, not both"


@hookimpl
def slmk_networks() -> Iterable[Component]:
    """Offer ``mlp``."""
    return [Component("mlp", MLPConfig, "slmk_net_mlp.mlp:MLP", "multilayer perceptron")]
