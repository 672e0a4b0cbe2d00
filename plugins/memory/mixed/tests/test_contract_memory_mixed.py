"""``mixed`` keeps every promise of its kind."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium import spaces

from slmk.testing import MemoryContract

GROUPS = spaces.Dict(
    {
        "number": spaces.Box(-np.inf, np.inf, (1,), np.float32),
        "picture": spaces.Box(0, 255, (2, 3), np.uint8),
        "mask": spaces.MultiBinary(2),
    }
)
OTHERS = "half of each batch are demonstrations; without them it is checked in TestWithoutDemonstrations"


class Demonstrated(MemoryContract):
    """The contract with a dataset of the spaces that its checks use."""

    component = "mixed"
    share: ClassVar[float]
    dataset: ClassVar[str]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _dataset(cls, tmp_path_factory, write) -> None:
        steps, observations = 3, {name: np.zeros((4, *space.shape), space.dtype) for name, space in GROUPS.items()}
        episode = {
            "observations": observations,
            "actions": np.arange(steps),
            "rewards": np.zeros(steps),
            "terminations": np.array([False, False, True]),
            "truncations": np.zeros(steps, bool),
        }
        path = tmp_path_factory.mktemp("demos") / "contract-v0"
        cls.dataset = str(write(path, GROUPS, spaces.Discrete(100_000), episode))

    def given(self) -> dict[str, Any]:
        return {"options": {"demonstrations": self.dataset, "share": self.share}}


class TestWithoutDemonstrations(Demonstrated):
    """All that a replay promises, of the run's own part."""

    share = 0.0


class TestWithDemonstrations(Demonstrated):
    """What does not depend on where transitions come from."""

    share = 0.5
    skip: ClassVar = dict.fromkeys(
        ("transitions_are_true", "forgets_the_oldest", "uniform", "n_step", "at_any_time", "feedback"), OTHERS
    )
