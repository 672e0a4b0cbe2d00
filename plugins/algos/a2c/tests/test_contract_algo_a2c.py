"""``a2c`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import AlgorithmContract


class TestA2C(AlgorithmContract):
    """The contract."""

    component = "a2c"
    learning: ClassVar = {"lr": 5e-3, "horizon": 16, "lam": 0.95}
