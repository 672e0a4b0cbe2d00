"""``sil`` keeps every promise of its kind, on top of A2C and of PPO."""

from typing import ClassVar

from slmk.testing import AlgorithmContract


class TestA2CAndSIL(AlgorithmContract):
    """The contract, with the plain policy gradient on rollouts."""

    component = "sil"
    options: ClassVar = {"imitation_batch": 64, "imitations": 2, "capacity": 4000}
    learning: ClassVar = {"lr": 5e-3, "horizon": 16, "lam": 0.95}


class TestPPOAndSIL(AlgorithmContract):
    """The contract, with the clipped surrogate on rollouts."""

    component = "sil"
    options: ClassVar = {
        **TestA2CAndSIL.options,
        "objective": "ppo",
        "horizon": 16,
        "minibatches": 4,
        "epochs": 2,
        "adam_beta1": 0.9,
        "normalize_advantage": True,
    }
    learning: ClassVar = {"horizon": 64, "epochs": 4, "lr": 3e-3}
