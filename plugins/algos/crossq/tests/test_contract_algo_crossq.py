"""``crossq`` keeps every promise of its kind."""

from typing import ClassVar

from slmk.testing import AlgorithmContract

NORMS = {"norm": "batch_renorm", "norm_position": "after", "norm_input": True}
NETWORKS = {role: {"name": "mlp", "hidden": [32], "activation": "relu", **NORMS} for role in ("actor", "critic")}


class TestCrossQ(AlgorithmContract):
    """The contract."""

    component = "crossq"
    sections: ClassVar = {"network": NETWORKS, "memory": {"name": "replay", "capacity": 20_000}}
    options: ClassVar = {"learning_starts": 0, "batch_size": 32}
    learning: ClassVar = {"horizon": 4, "utd_ratio": 0.25, "temperature": 0.001}
