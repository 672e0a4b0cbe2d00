"""State is collected from attributes, completely or not at all."""

import random
from collections import Counter, defaultdict, deque, namedtuple
from enum import Enum, Flag, IntEnum
from functools import partial

import numpy as np
import pytest
import torch

from slmk import CheckpointError, Config
from slmk.state import get_state, set_state
from slmk.testing.checkpoints import through_a_file


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


Pair = namedtuple("Pair", "a b")
Phase = Enum("Phase", "WARM HOT")
Level = IntEnum("Level", "LOW HIGH")


class Kinds:
    """Attributes of kinds that a file has not, empty as in a new part."""

    def __init__(self):
        self.visits, self.counter, self.sums = {}, Counter(), defaultdict(int)
        self.best = None
        self.arrays, self.pairs, self.recent = [], [], deque(maxlen=3)
        self.scale, self.pair = np.float32(1.0), Pair(0, 0)
        self.phase, self.level = Phase.WARM, Level.LOW
        self.reverse = np.zeros(0)

    def fill(self):
        self.visits |= {3: 1.5, (1, np.int64(2)): [4], "3": {"5": {6: None}}}
        self.counter["x"] += 1
        self.sums["y"] += 2
        self.best = np.ones(2)
        self.arrays.append(np.ones((2, 1), dtype=np.uint16))
        self.pairs.append((1, (2.0, "a")))
        self.recent.extend([(1, 2), (3, 4)])
        self.scale, self.pair = np.float32(0.1), Pair(1, (2,))
        self.phase, self.level = Phase.HOT, Level.HIGH
        self.reverse = np.arange(3)[::-1]
        return self


def described(value):
    """A value with the kinds of all that is in it."""
    if isinstance(value, np.ndarray):
        return "ndarray", value.dtype, value.tolist()
    if isinstance(value, dict):
        return type(value), [(described(key), described(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | deque):
        return type(value), [described(item) for item in value]
    return type(value), value


def test_values_keep_their_kind_through_a_file():
    """Keys that are no strings, arrays, tuples, numpy's scalars, enums and subclasses come back as what they were."""
    saved, fresh = Kinds().fill(), Kinds()
    sums, counter, recent = fresh.sums, fresh.counter, fresh.recent
    set_state(fresh, through_a_file(get_state(saved)))
    for name, value in vars(saved).items():
        assert described(getattr(fresh, name)) == described(value), name
    assert (fresh.sums, fresh.counter, fresh.recent) == (sums, counter, recent)
    assert fresh.sums is sums
    assert fresh.counter is counter
    assert fresh.recent is recent
    assert fresh.recent.maxlen == 3
    assert fresh.sums["new"] == 0


def test_arrays_are_restored_in_place():
    """Views of a restored array see the restored values."""
    saved, fresh = Inner(), Inner()
    saved.table, fresh.table = np.arange(3), np.zeros(3, dtype=np.int64)
    view = fresh.table[2:]
    set_state(fresh, through_a_file(get_state(saved)))
    assert view.item() == 2


@pytest.mark.parametrize(
    "first", [None, 1.5, "a", (0,), {}, np.zeros(1), np.float32(0.0), Phase.HOT, [0], torch.ones(1)]
)
def test_an_attribute_may_change_its_kind(first):
    """What it is when it is saved counts, and not what it is in a new part."""
    for value in (None, 1.5, "a", (1,), {1: 1}, np.ones(1), np.float32(1.0), {2: [1.0]}):
        saved, fresh = Inner(), Inner()
        saved.x, fresh.x = value, type(first)(first) if isinstance(first, dict) else first
        set_state(fresh, through_a_file(get_state(saved)))
        assert described(fresh.x) == described(value), value


@pytest.mark.parametrize("value", [Inner(), deque([1]), Counter("a"), torch.Generator(), Pair(1, 2), Phase.HOT])
def test_an_object_that_has_no_place_in_a_new_part_is_named(value):
    """An object that was made during the run has nothing to be restored in: no tree of its parts takes its place."""
    for grown, empty in (([value], []), (value, None), ({"a": value}, {}), ([value], [None])):
        saved, fresh = Inner(), Inner()
        saved.x, fresh.x = grown, empty
        state = through_a_file(get_state(saved))
        with pytest.raises(CheckpointError, match=rf"Inner\.x.* was a .*{type(value).__name__} when it was saved"):
            set_state(fresh, state)


@pytest.mark.parametrize("dtype", ["U1", "c16", ">f4", "O", "M8[s]"])
def test_an_array_of_no_numbers_is_named(dtype):
    """Torch and safetensors have no such type: the error names the attribute."""
    part = Inner()
    part.x = [np.zeros(2, dtype)]
    with pytest.raises(TypeError, match=r"Inner\.x\[0\] has the dtype"):
        get_state(part)
    part.x = np.ma.masked_array([1.0])
    with pytest.raises(TypeError, match=r"Inner\.x is a MaskedArray"):
        get_state(part)


class Seen(set):
    """It holds more than attributes."""


@pytest.mark.parametrize("value", [random.Random(1), Seen({1, 2}), {1, 2}])
def test_what_holds_more_than_attributes_is_named(value):
    """Its attributes alone would be restored without a word."""
    part = Inner()
    part.seen = value
    with pytest.raises(TypeError, match=r"Inner\.seen is a .*no known state"):
        get_state(part)


def test_numbers_of_numpy_are_no_tensors():
    """A file may have a million of them, and has a tensor for none."""
    part, other = Inner(), Inner()
    part.last = [np.float32(0.1), np.int64(2**62), np.bool_(True), np.complex64(1 + 2j), np.float64("nan")]
    other.last = []
    state = get_state(part)
    assert not any(isinstance(leaf, torch.Tensor | np.ndarray) for item in state["last"] for leaf in item["value"])
    set_state(other, through_a_file(state))
    assert list(map(type, other.last)) == list(map(type, part.last))
    assert np.array_equal(other.last, part.last, equal_nan=True)


def test_streams_may_be_left_as_they_are():
    """At any depth, as where a policy is loaded on another kind of device; all else is restored."""
    part, other = Part(), Part()
    part.inner.stream = other.inner.stream = None
    part.inner.stream, other.inner.stream = torch.Generator().manual_seed(3), torch.Generator().manual_seed(4)
    part.advance()
    before = [other.generator.get_state(), other.inner.stream.get_state(), other.random.bit_generator.state]
    state = get_state(part)
    state["inner"]["value"]["stream"]["value"] = torch.zeros(16, dtype=torch.uint8)  # Such as those of a GPU.
    set_state(other, state, streams=False)
    after = [other.generator.get_state(), other.inner.stream.get_state(), other.random.bit_generator.state]
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert before[2] == after[2]
    assert other.inner.count == 1
    with pytest.raises(CheckpointError, match=r"Inner\.stream is a random stream of another kind of device"):
        set_state(other, state)


class Choice(Enum):
    SINGLE = torch.float32
    DOUBLE = torch.float64


class Marks(Flag):
    A = 1
    B = 2


def test_a_member_of_an_enumeration_is_known_by_its_name():
    """Whatever its value is; several flags at once have no name."""
    part, other = Inner(), Inner()
    part.choice, part.marks = Choice.DOUBLE, Marks.A | Marks.B
    other.choice, other.marks = Choice.SINGLE, Marks.A
    set_state(other, through_a_file(get_state(part)))
    assert (other.choice, other.marks) == (Choice.DOUBLE, Marks.A | Marks.B)


@pytest.mark.parametrize("key", [Phase.HOT, Inner(), Pair(1, 2), (1, Inner()), Level.LOW, torch.device("cpu")])
def test_a_key_that_cannot_be_restored_is_named(key):
    """A key has to be found again under a value that is equal to it."""
    part = Inner()
    part.x = {"a": {key: 1}}
    with pytest.raises(TypeError, match=r"Inner\.x\['a'\] has the key"):
        get_state(part)
    part.x = {key: len}
    assert get_state(part)["x"]["value"] == []


def test_any_bit_generator_of_numpy_goes_on():
    """The state of some has arrays."""
    for kind in (np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64):
        saved, fresh = Inner(), Inner()
        saved.random, fresh.random = np.random.Generator(kind(1)), np.random.Generator(kind(2))
        saved.random.random(3)
        set_state(fresh, through_a_file(get_state(saved)))
        assert fresh.random.random() == saved.random.random()
