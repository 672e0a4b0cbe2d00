"""Errors that are not finite, on devices for which a draw does not wait."""

from __future__ import annotations

import pytest
import torch
from gymnasium import spaces

from slmk import Act, EnvInfo, RunError, Step
from slmk_memory_prioritized import PrioritizedConfig
from slmk_memory_prioritized.prioritized import Prioritized
from slmk_memory_prioritized.sum_tree import SumTree

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("wrong", [NAN, INF])
@pytest.mark.parametrize("leaf", [0, 40, 99])
def test_places_that_are_not_finite_are_in_the_tree(wrong: float, leaf: int) -> None:
    """Whatever is found is one of the leaves, so that a GPU reads nothing beyond them."""
    tree = SumTree(100, torch.device("cpu"))
    values = torch.ones(100, dtype=torch.float64)
    values[leaf] = wrong
    tree.write(torch.arange(100), values)
    places = torch.tensor([0.0, 0.5, 40.5, 99.5, NAN, INF], dtype=torch.float64)
    found = tree.find(places)
    assert ((found >= 0) & (found < 100)).all()


@pytest.mark.parametrize("wrong", [NAN, INF])
def test_an_error_that_is_not_finite_is_told_before_it_is_saved(wrong: float) -> None:
    """Where draws do not look, the checkpoint does: one without numbers could not go on."""
    info = EnvInfo(1, {"obs": spaces.Box(-1, 1, (1,))}, spaces.Discrete(2), torch.device("cpu"))
    memory = Prioritized(PrioritizedConfig(capacity=8), info, 1, torch.Generator())
    obs, never = {"obs": torch.zeros(1, 1)}, torch.zeros(1, dtype=torch.bool)
    memory.add(obs, Act(torch.zeros(1, dtype=torch.int64)), Step(obs, obs, torch.zeros(1), never, never))
    batch = memory.sample(2)
    memory.state_dict()
    memory.feedback(batch, torch.tensor([wrong, wrong]))
    with pytest.raises(RunError, match="training has diverged"):
        memory.state_dict()
