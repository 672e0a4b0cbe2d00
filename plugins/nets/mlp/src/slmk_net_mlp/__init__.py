"""Multilayer perceptrons: options and registration. The network itself is in `slmk_net_mlp.mlp`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from slmk import (
    Activation,
    Component,
    Fraction,
    Init,
    NetworkConfig,
    NonNegative,
    NonNegativeInt,
    PositiveInt,
    hookimpl,
)

__all__ = ["MLPConfig"]


class MLPConfig(NetworkConfig):
    """Options of a multilayer perceptron: linear, normalisation if any, activation; and a linear layer at the end."""

    hidden: tuple[PositiveInt, ...] = (64, 64)
    """Widths of the hidden layers; empty for a linear map."""
    activation: Activation = "tanh"
    """The nonlinearity after each hidden layer."""
    init: Init = "orthogonal"
    """Initial weights: ``orthogonal`` (gain √2, biases 0), ``lecun_uniform`` (±√(3 / inputs), biases 0; JAX's habit),
    ``kaiming_uniform`` (±√(6 / inputs), biases 0) or ``pytorch`` (±√(1 / inputs), biases too; that of its layers).
    The last layer's weights have gain 1 in the orthogonal scheme, and in all of them the gain of the role on top."""
    out_gain: NonNegative = 0.0
    """Gain of the last layer's weights; 0 for that of the role, which is what the algorithm asks for."""
    norm: Literal["none", "layer", "batch", "batch_renorm"] = "none"
    """Normalisation of every hidden layer: of each sample over its features (``layer``), or of each feature over the
    samples of a batch (``batch``, ``batch_renorm``). The latter two use the statistics of the batch where the network
    is trained and running ones elsewhere, so that what a policy does never depends on who else acts.
    ``batch_renorm`` corrects the batch's statistics towards the running ones, within the limits of Ioffe (2017)."""
    norm_position: Literal["before", "after"] = "before"
    """Whether a layer is normalised before or after its activation."""
    norm_input: bool = False
    """Normalise the joined inputs as well."""
    norm_momentum: Fraction = 0.99
    """Share of the running statistics that each batch in training leaves as it was."""
    norm_warm_up: NonNegativeInt = 100_000
    """Batches in training after which ``batch_renorm`` begins to correct; plain batch normalisation until then."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the features of every hidden layer that is set to 0 where the network is trained, before `norm`; 0.01
    with layer normalisation for the critics of DroQ (Hiraoka et al. 2022, arXiv:2110.02034)."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """What to do with inputs is said by `norm`."""
        if self.norm_input and self.norm == "none":
            yield "norm_input", "there is no normalisation to apply to the inputs: set norm"


@hookimpl
def slmk_networks() -> Iterable[Component]:
    """Offer ``mlp``."""
    return [Component("mlp", MLPConfig, "slmk_net_mlp.mlp:MLP", "multilayer perceptron")]
