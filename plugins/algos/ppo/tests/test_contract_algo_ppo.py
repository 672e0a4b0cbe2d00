"""``ppo`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import AlgorithmContract


class TestPPO(AlgorithmContract):
    """The contract."""

    component = "ppo"
    options: ClassVar = {"horizon": 16, "minibatches": 4, "epochs": 2}
    learning: ClassVar = {"horizon": 64, "epochs": 4, "lr": 3e-3}
