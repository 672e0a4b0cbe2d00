"""Gradient steps in proportion to transitions, whatever the number of environments."""

from types import SimpleNamespace

import pytest

from slmk.state import get_state, set_state
from slmk.toolbox.pacing import Pace


def pace(utd_ratio=1.0, *, horizon=1, num_envs=1, learning_starts=0, env_steps=1000):
    options = SimpleNamespace(learning_starts=learning_starts, utd_ratio=utd_ratio, horizon=horizon)
    return Pace(options, num_envs=num_envs, env_steps=env_steps)


@pytest.mark.parametrize("utd_ratio", [0.125, 0.3, 1.0, 20.0])
@pytest.mark.parametrize(("horizon", "num_envs"), [(1, 1), (1, 7), (4, 16)])
def test_the_ratio_holds_for_any_number_of_environments(utd_ratio, horizon, num_envs):
    """After any number of calls, less than one step is owed."""
    it = pace(utd_ratio, horizon=horizon, num_envs=num_envs)
    taken = 0
    for call in range(1, 200):
        taken += it.due(0.5)
        earned = call * utd_ratio * horizon * num_envs
        assert earned - 1 - 1e-6 < taken <= earned + 1e-6


def test_fractions_are_carried_over():
    """A quarter of a step for each transition is one step for every fourth."""
    it = pace(0.25)
    assert [it.due(0.0) for _ in range(8)] == [0, 0, 0, 1, 0, 0, 0, 1]


def test_the_warm_up_owes_nothing():
    """Steps that were not taken then are not made up for later."""
    it = pace(learning_starts=100)
    assert it.warms_up(0.0999)
    assert not it.warms_up(0.1)
    assert [it.due(0.05), it.due(0.0999), it.due(0.1)] == [0, 0, 1]
    assert it.due(0.2, ready=False) == 0
    assert it.due(0.2) == 1


def test_without_a_budget_there_is_no_warm_up():
    """A share of an unknown budget is unknown."""
    it = pace(learning_starts=100, env_steps=0)
    assert not it.warms_up(0.0)
    assert it.due(0.0) == 1


def test_what_is_owed_survives_a_checkpoint():
    """Exact resume needs the fraction."""
    straight, resumed = pace(0.4), pace(0.4)
    straight.due(0.0), straight.due(0.0)
    set_state(resumed, get_state(straight))
    assert [resumed.due(0.0) for _ in range(5)] == [straight.due(0.0) for _ in range(5)]
