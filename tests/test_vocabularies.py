"""Options that several plugins have are the same in each of them."""

import pytest

from slmk import Activation, Adam, Component, Exploration, Gaussian, Init
from slmk.component import KINDS
from slmk.registry import get_registry

VOCABULARIES = {
    "activation": Activation,
    "conv_activation": Activation,
    "init": Init,
    "conv_init": Init,
    "gaussian": Gaussian,
    "exploration": Exploration,
}
"""By the name of the option."""


def having(*options):
    """Every config that has one of these options, and which."""
    registry = get_registry()
    for kind in KINDS:
        for name in registry.names(kind):
            found = registry.find(kind, name)
            assert isinstance(found, Component), found
            for option in sorted(set(options) & set(found.config.model_fields)):
                yield pytest.param(found.config, option, id=f"{name}.{option}")


@pytest.mark.parametrize(("config", "option"), having(*VOCABULARIES))
def test_options_offer_the_whole_vocabulary(config, option):
    """What the toolbox can do reaches every plugin that has the option."""
    assert config.model_fields[option].annotation == VOCABULARIES[option]


@pytest.mark.parametrize(("config", "option"), having("max_grad_norm"))
def test_clipping_can_be_switched_off(config, option):
    """A norm of 0 stands for no clipping, and is one that `Adam` takes so."""
    assert config(**{option: 0.0}).max_grad_norm == Adam().max_grad_norm
