"""Refusing what does not fit into memory."""

import pytest
import torch

from slmk.errors import SpecError
from slmk.toolbox import room
from slmk.toolbox.room import free_memory, require_memory

CPU, META = torch.device("cpu"), torch.device("meta")
GIB = 2**30


def test_more_than_is_free_is_a_problem_of_the_spec(monkeypatch):
    """The message says how much is needed, how much there is, and how many would fit."""
    monkeypatch.setattr(room, "free_memory", lambda device: 3 * GIB)
    require_memory(3, GIB, CPU)
    with pytest.raises(SpecError) as caught:
        require_memory(2048, GIB / 64, CPU)
    (problem,) = caught.value.problems
    assert problem.path == "env.num_envs"
    assert problem.message == "2,048 environments need about 32.0 GiB, and 3.0 GiB are free"
    assert problem.hint == "there is room for 192"


def test_a_device_that_does_not_tell_refuses_nothing():
    """What no machine has room for is refused on the CPU, and not where nothing is known."""
    with pytest.raises(SpecError):
        require_memory(10**9, GIB, CPU)
    assert free_memory(META) is None
    require_memory(10**9, GIB, META)


def test_free_memory_shrinks_by_what_is_taken():
    """A gibibyte that is written to is free no more; what other processes do meanwhile is smaller."""
    before = free_memory(CPU)
    taken = torch.ones(GIB // 4)
    assert 0.5 * GIB < before - free_memory(CPU) < 1.5 * GIB
    assert taken.nbytes == GIB
