"""Where a session that goes on finds the tensors of its checkpoint."""

from dataclasses import replace

import pytest
import torch

from slmk.session import Session
from slmk.spec import load
from slmk.testing.checkpoints import through_a_file
from slmk.testing.toy_runs import toy_spec

META = torch.device("meta")


class Speaking:
    """A memory that takes care of its own state."""

    def __init__(self):
        self.kept = {"x": torch.ones(2)}

    def state_dict(self):
        return self.kept

    def load_state_dict(self, state):
        self.kept = state


class Silent:
    """One whose attributes are its state."""

    def __init__(self, *steps):
        self.steps = list(steps)


@pytest.fixture
def elsewhere():
    """A session on another device than the CPU, and a state of one like it."""
    saved, session = Session(load(toy_spec()), seed=0), Session(load(toy_spec()), seed=0)
    session.env.info = replace(session.env.info, device=META)
    session.algorithm.action = session.algorithm.action.to(META)
    saved.metrics = {"idle/zero": torch.zeros(())}
    return session, saved


def test_what_is_small_goes_to_the_device_and_a_memory_takes_what_it_wants(elsewhere):
    """Algorithms, observations and metrics are where the run computes; a replay may lie elsewhere, or only there."""
    session, saved = elsewhere
    session.memory, saved.memory = Speaking(), Speaking()
    session.load_state_dict(through_a_file(saved.state_dict()))
    assert session.memory.kept["x"].device.type == "cpu"
    assert {x.device.type for x in session.obs.values()} == {"meta"}
    assert session.metrics["idle/zero"].device.type == "meta"


def test_a_memory_that_does_not_speak_for_itself_is_on_the_device(elsewhere):
    """Nobody else would take its tensors there."""
    session, saved = elsewhere
    session.memory, saved.memory = Silent(), Silent({"obs": torch.ones(2)})
    session.load_state_dict(through_a_file(saved.state_dict()))
    assert session.memory.steps[0]["obs"].device.type == "meta"
