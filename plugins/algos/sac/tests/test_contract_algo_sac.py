"""``sac`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import AlgorithmContract

NETWORKS = {role: {"name": "mlp", "hidden": [32]} for role in ("actor", "critic")}


class TestSAC(AlgorithmContract):
    """The contract."""

    component = "sac"
    sections: ClassVar = {"network": NETWORKS, "memory": {"name": "replay", "capacity": 20_000}}
    options: ClassVar = {"learning_starts": 0, "batch_size": 32}
    learning: ClassVar = {"horizon": 4, "utd_ratio": 0.25, "lr": 3e-3, "tau": 0.05, "temperature": 0.001}
