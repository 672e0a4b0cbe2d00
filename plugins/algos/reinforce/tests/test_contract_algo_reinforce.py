"""``reinforce`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import AlgorithmContract


class TestReinforce(AlgorithmContract):
    """The contract."""

    component = "reinforce"
    learning: ClassVar = {"horizon": 16, "lr": 1e-2}
