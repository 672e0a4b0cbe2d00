"""``rlpd`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import AlgorithmContract

NETWORKS = {"actor": {"name": "mlp", "hidden": [32]}, "critic": {"name": "mlp", "hidden": [32], "norm": "layer"}}


class TestRLPD(AlgorithmContract):
    """The contract."""

    component = "rlpd"
    sections: ClassVar = {"network": NETWORKS, "memory": {"name": "replay", "capacity": 20_000}}
    options: ClassVar = {"learning_starts": 0, "batch_size": 32, "critics": 3, "utd_ratio": 2.0, "policy_delay": 2}
    learning: ClassVar = {"horizon": 4, "utd_ratio": 0.25, "lr": 3e-3, "tau": 0.05, "temperature": 0.001}
