"""Refusing what does not fit into memory."""

import pytest
import torch

from slmk.errors import SpecError
from slmk.toolbox import room
from slmk.toolbox.room import free_memory, require_memory, resident_memory

CPU = torch.device("cpu")
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


def test_where_nothing_is_known_nothing_is_refused(monkeypatch):
    """Other systems do not tell."""
    monkeypatch.setattr(room, "free_memory", lambda device: None)
    require_memory(10**9, 10**9, CPU)


@pytest.mark.skipif(not room._MEMINFO.exists(), reason="needs /proc")
def test_memory_is_measured():
    """A tensor that is written to counts, and what is free is less than what there is."""
    before = resident_memory()
    x = torch.ones(64 * 2**20 // 4)
    assert 60 * 2**20 < resident_memory() - before < 100 * 2**20
    total = int(room._MEMINFO.read_text().split()[1]) * 1024
    assert x.nbytes < free_memory(CPU) < total
    assert free_memory(torch.device("meta")) is None
