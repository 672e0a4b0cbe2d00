"""``ppo_brax`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import AlgorithmContract


class TestPPOBrax(AlgorithmContract):
    """The contract."""

    component = "ppo_brax"
    options: ClassVar = {"unroll_length": 8, "unrolls": 2, "minibatches": 2, "epochs": 2, "reward_scale": 1.0}
    learning: ClassVar = {"unroll_length": 16, "unrolls": 4, "epochs": 4, "lr": 3e-3, "gamma": 0.99}
