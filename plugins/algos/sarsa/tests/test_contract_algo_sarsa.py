"""``sarsa`` keeps every promise of its kind, in its variants."""

from typing import ClassVar

from slmk.testing import AlgorithmContract


class TestSARSA(AlgorithmContract):
    """The contract."""

    component = "sarsa"
    options: ClassVar = {"epsilon": 0.1}
    learning: ClassVar = {"lr": 1e-2}


class TestExpectedSARSA(AlgorithmContract):
    """The contract for the other half of the options."""

    component = "sarsa"
    options: ClassVar = {
        "expected": True,
        "lam": 0.8,
        "exploration": "boltzmann",
        "temperature": 0.1,
        "loss": "squared",
    }
    learning: ClassVar = {"lr": 1e-2}
