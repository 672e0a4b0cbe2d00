"""``dqn`` keeps every promise of its kind, in its variants."""

from typing import ClassVar

from slmk.testing import AlgorithmContract

REPLAY = {"memory": {"name": "replay", "capacity": 100_000}}


class TestDQN(AlgorithmContract):
    """The contract."""

    component = "dqn"
    options: ClassVar = {"learning_starts": 64, "epsilon": 0.2}
    learning: ClassVar = {"lr": 3e-3, "target_every": 128}


class TestDuelingBoltzmann(AlgorithmContract):
    """The contract for the other half of the options, with a target network that follows step by step."""

    component = "dqn"
    sections: ClassVar = REPLAY
    options: ClassVar = {
        "learning_starts": 64,
        "double": False,
        "dueling": True,
        "n_step": 3,
        "loss": "squared",
        "exploration": "boltzmann",
        "temperature": 0.2,
        "target_every": 0,
        "tau": 0.02,
    }
    learning: ClassVar = {"lr": 3e-3}
    skip: ClassVar = {
        "recurrent_networks": "sequences have rewards of one step",
        "learns_memory": "sequences have rewards of one step",
    }
