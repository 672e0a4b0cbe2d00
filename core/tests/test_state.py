"""State is collected from attributes, completely or not at all."""

from collections import deque
from functools import partial

import numpy as np
import pytest
import torch

from slmk import CheckpointError, Config
from slmk.state import get_state, set_state


class Inner:
    def __init__(self) -> None:
        self.count = 0


class Part:
    def __init__(self) -> None:
        self.config = Config()
        self.device = torch.device("cpu")
        self.function = partial(print, "x")
        self.layer = torch.nn.Linear(2, 2)
        self.tensor = torch.zeros(3)
        self.generator = torch.Generator().manual_seed(0)
        self.random = np.random.default_rng(0)
        self.recent = deque([1, 2], maxlen=2)
        self.inner = Inner()
        self.best = None
        self.names = {"a": 1}

    def advance(self):
        self.tensor.add_(torch.rand(3, generator=self.generator))
        self.recent.append(int(self.random.integers(100)))
        self.inner.count += 1
        self.best = float(self.tensor.sum())
        self.names["a"] += 1
        return self.best, list(self.recent), self.inner.count, dict(self.names)


def copied(state):
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    return list(map(copied, state)) if isinstance(state, list) else state


def test_everything_that_changes_is_restored():
    """A second object in the state of the first goes on exactly like it: tensors, generators, counters, containers."""
    first, second = Part(), Part()
    for _ in range(3):
        first.advance()
    set_state(second, copied(get_state(first)))
    assert [first.advance() for _ in range(3)] == [second.advance() for _ in range(3)]
    assert second.recent.maxlen == 2


def test_tensors_are_restored_in_place():
    """Views of a restored tensor see the restored values."""
    part = Part()
    view = part.tensor[:1]
    set_state(part, {**copied(get_state(part)), "tensor": torch.ones(3)})
    assert view.item() == 1.0


def test_an_attribute_without_known_state_is_named():
    """A lock can be neither stored nor left out: the error names it."""
    part = Part()
    part.file = iter([])
    with pytest.raises(TypeError, match=r"Part\.file is a list_iterator"):
        get_state(part)


def test_the_state_of_another_class_is_refused():
    """Missing and unknown names are listed."""
    with pytest.raises(CheckpointError, match=r"lacks \['count'\], unknown \['other'\]"):
        set_state(Inner(), {"other": 1})


def test_entries_that_a_part_has_not_made_yet_are_restored():
    """A dictionary that fills up during a run is empty in a new part: nothing of what was saved may be lost."""
    saved, fresh = Inner(), Inner()
    saved.seen, fresh.seen = {"left": 3, "right": torch.ones(2)}, {}
    set_state(fresh, get_state(saved))
    assert fresh.seen["left"] == 3
    assert torch.equal(fresh.seen["right"], torch.ones(2))


def test_a_missing_entry_is_named_and_structure_in_a_dictionary_stays():
    """What `get_state` leaves out, `set_state` does not ask for."""
    part = Inner()
    part.table = {"device": torch.device("cpu"), "hits": 1}
    set_state(part, {**get_state(part), "table": {"hits": 2}})
    assert part.table == {"device": torch.device("cpu"), "hits": 2}
    with pytest.raises(CheckpointError, match=r"lacks \['hits'\]"):
        set_state(part, {**get_state(part), "table": {}})
