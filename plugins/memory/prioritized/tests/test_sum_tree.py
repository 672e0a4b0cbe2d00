"""The sum tree against numpy, and where rounding would go wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slmk_memory_prioritized import sum_tree
from slmk_memory_prioritized.sum_tree import SumTree

CPU = torch.device("cpu")


def tree_of(values: np.ndarray) -> SumTree:
    tree = SumTree(len(values), CPU)
    tree.write(torch.arange(len(values)), torch.from_numpy(values))
    return tree


def test_places_by_hand() -> None:
    """Leaves of lengths 1, 0, 2, 1 lie from 0, 1, 1 and 3 on."""
    tree = tree_of(np.array([1.0, 0.0, 2.0, 1.0]))
    places = torch.tensor([0.0, 0.999, 1.0, 2.5, 3.0, 3.999], dtype=torch.float64)
    assert tree.find(places).tolist() == [0, 0, 2, 2, 3, 3]


@pytest.mark.parametrize("size", [1, 31, 32, 33, 5000, 1_200_000])
def test_places_of_integers_are_those_of_numpy(size: int) -> None:
    """For integers, whose sums are exact, every place is found in the leaf in which numpy finds it."""
    random = np.random.default_rng(size)
    values = random.integers(0, 4, size).astype(float)
    values[random.integers(size)] = 3
    tree = tree_of(values)
    leaf = random.choice(size, min(size, 500), replace=False)
    values[leaf] = random.integers(1, 9, len(leaf))
    tree.write(torch.from_numpy(leaf), torch.from_numpy(values[leaf]))
    ends = values.cumsum()
    place = random.integers(0, int(ends[-1]), 1000) + random.choice([0.0, 0.5], 1000)
    expected = np.searchsorted(ends, place, side="right")
    assert tree.find(torch.from_numpy(place)).tolist() == expected.tolist()


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 300),
    writes=st.lists(
        st.lists(st.tuples(st.integers(0, 299), st.sampled_from([0.0, 1.0, 2.0, 7.0])), min_size=1, max_size=20),
        max_size=8,
    ),
)
def test_any_writes_leave_sums_of_what_is_there(size: int, writes: list[list[tuple[int, float]]]) -> None:
    """After any writes the middle of each leaf that is not 0 is found there, as if the tree were new."""
    values, tree = np.zeros(size), SumTree(size, CPU)
    for write in writes:
        changed = {leaf % size: value for leaf, value in write}
        for leaf, value in changed.items():
            values[leaf] = value
        tree.write(torch.tensor(list(changed)), torch.tensor(list(changed.values()), dtype=torch.float64))
    assert tree.values[:size].tolist() == values.tolist()
    there = np.flatnonzero(values)
    middles = (values.cumsum() - values / 2)[there]
    assert tree.find(torch.from_numpy(middles)).tolist() == there.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_a_leaf_of_0_is_never_drawn(seed: int) -> None:
    """Whatever the values, tiny beside huge ones, no draw comes to a leaf of 0, not even at the end of all."""
    random = np.random.default_rng(seed)
    values = np.where(random.random(3000) < 0.3, 10.0 ** random.uniform(-30, 30, 3000), 0.0)
    values[-100:] = 0
    tree = tree_of(values)
    drawn = tree.draw(20_000, torch.Generator().manual_seed(seed))
    assert (values[drawn.numpy()] > 0).all()
    last = torch.tensor([np.nextafter(tree._total.item(), 0.0)], dtype=torch.float64)
    assert values[tree.find(last).item()] > 0


def test_each_part_of_the_sum_is_drawn_from_once() -> None:
    """Of four leaves of equal length, four draws give each, and eight draws each twice."""
    tree, generator = tree_of(np.ones(4)), torch.Generator().manual_seed(0)
    assert tree.draw(4, generator).tolist() == [0, 1, 2, 3]
    assert tree.draw(8, generator).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_draws_are_in_proportion_to_values() -> None:
    """Of leaves of 1, 2, 3 and 4, single draws give each in that proportion: chi-square below its 1e-5 quantile."""
    tree, generator = tree_of(np.array([1.0, 2.0, 3.0, 4.0])), torch.Generator().manual_seed(0)
    counts = torch.bincount(torch.cat([tree.draw(1, generator) for _ in range(2000)]), minlength=4)
    expected = torch.tensor([200.0, 400.0, 600.0, 800.0])
    # The quantile of chi-square with 3 degrees of freedom at 1 - 1e-5.
    assert ((counts - expected).square() / expected).sum() < 25.9


def test_large_trees_have_larger_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree with more leaves than 32 times its blocks makes these larger, and finds what is in them."""
    monkeypatch.setattr(sum_tree, "BLOCKS", 4)
    values = np.arange(1000.0)
    tree = tree_of(values)
    place = torch.from_numpy(values.cumsum()[:-1])
    assert tree.find(place).tolist() == list(range(1, 1000))
