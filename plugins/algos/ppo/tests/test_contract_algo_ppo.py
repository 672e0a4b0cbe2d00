"""``ppo`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import AlgorithmContract


class TestPPO(AlgorithmContract):
    """The contract."""

    component = "ppo"
    options: ClassVar = {"horizon": 16, "minibatches": 4, "epochs": 2}
    learning: ClassVar = {"horizon": 64, "epochs": 4, "lr": 3e-3}


class TestPPOByKL(AlgorithmContract):
    """The contract with a learning rate that is state."""

    component = "ppo"
    options: ClassVar = {"horizon": 16, "minibatches": 4, "epochs": 2, "lr": {"kl": 0.01}}
    learning: ClassVar = {"horizon": 64, "epochs": 4, "lr": {"kl": 0.02, "start": 3e-3}}
