"""What several plugins let a spec choose from is said in one place."""

import pytest

from slmk import Activation, Component, Exploration, Gaussian, Init
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


def options():
    """Every option of these names, with its type."""
    registry = get_registry()
    for kind in KINDS:
        for name in registry.names(kind):
            found = registry.find(kind, name)
            assert isinstance(found, Component), found
            for option, field in found.config.model_fields.items():
                if option in VOCABULARIES:
                    yield pytest.param(option, field.annotation, id=f"{name}.{option}")


@pytest.mark.parametrize(("option", "annotation"), options())
def test_options_offer_the_whole_vocabulary(option, annotation):
    """What the toolbox can do reaches every plugin that has the option."""
    assert annotation == VOCABULARIES[option]
