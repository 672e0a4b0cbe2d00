"""Rollouts in random order, a part at a time."""

import pytest
import torch

from slmk.toolbox.minibatches import minibatches


def test_minibatches_cover_every_sample_once():
    """One epoch's indices are a permutation of all samples, and the next epoch's are another one."""
    generator = torch.Generator().manual_seed(0)
    one, other = (minibatches(18, 3, generator) for _ in range(2))
    assert one.shape == other.shape == (3, 6)
    assert sorted(one.flatten().tolist()) == sorted(other.flatten().tolist()) == list(range(18))
    assert not torch.equal(one, other)


def test_minibatches_are_drawn_from_the_stream_they_are_given():
    """They are torch's permutation, row by row, and the global stream does not move."""
    before = torch.random.get_rng_state()
    drawn = minibatches(4, 2, torch.Generator().manual_seed(3))
    assert drawn.flatten().tolist() == torch.randperm(4, generator=torch.Generator().manual_seed(3)).tolist()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_samples_that_do_not_split_are_refused():
    """Nine samples are not two minibatches of one size."""
    with pytest.raises(RuntimeError, match="invalid for input of size 9"):
        minibatches(9, 2, torch.Generator())
