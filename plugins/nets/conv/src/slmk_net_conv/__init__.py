"""Convolutional networks: options and registration. The network itself is in `slmk_net_conv.conv`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from slmk import Activation, Component, Init, NetworkConfig, NonNegative, PositiveInt, hookimpl

__all__ = ["ConvConfig"]

Layers = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


class ConvConfig(NetworkConfig):
    """Options of a convolutional network. The defaults are the layers of Mnih et al. (2015), "Nature CNN"."""

    channels: Layers = (32, 64, 64)
    """Filters of each convolution."""
    kernels: Layers = (8, 4, 3)
    """Height and width of the filters of each convolution."""
    strides: Layers = (4, 2, 1)
    """Distance between two places of a filter, for each convolution."""
    padding: Literal["valid", "same"] = "valid"
    """Where filters are placed: ``valid`` within the picture, ``same`` at every multiple of the stride, with zeros
    around the picture as TensorFlow and JAX put them."""
    max_pool: bool = False
    """Keep the largest of 2 × 2 places after each convolution."""
    global_pool: Literal["none", "mean"] = "none"
    """After the last convolution, keep all places (``none``), or the mean over them, one feature for each filter."""
    conv_activation: Activation = "relu"
    """The nonlinearity after each convolution."""
    conv_init: Init = "orthogonal"
    """Initial filters; see the network ``mlp``."""
    hidden: tuple[PositiveInt, ...] = (512,)
    """Widths of the hidden layers behind the convolutions, which other groups join; empty for a linear map."""
    activation: Activation = "relu"
    """The nonlinearity after each hidden layer."""
    init: Init = "orthogonal"
    """Initial weights of the hidden layers and of the last one; see the network ``mlp``."""
    out_gain: NonNegative = 0.0
    """Gain of the last layer's weights; 0 for that of the role, which is what the algorithm asks for."""

    def problems(self, spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Every convolution has filters, their size and their stride."""
        for name in ("kernels", "strides"):
            if len(getattr(self, name)) != len(self.channels):
                yield name, f"there are {len(self.channels)} convolutions (channels)"


@hookimpl
def slmk_networks() -> Iterable[Component]:
    """Offer ``conv``."""
    return [Component("conv", ConvConfig, "slmk_net_conv.conv:Conv", "convolutions over pictures, then layers")]
