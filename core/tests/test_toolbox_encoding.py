"""Observation groups as vectors, by hand."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from slmk import SpecError
from slmk.toolbox.encoding import encoder

CASES = {
    "vector": (spaces.Box(-1, 1, (3,)), [1.0, -1.0, 0.5], [1.0, -1.0, 0.5]),
    "number": (spaces.Box(-1, 1, ()), 0.5, [0.5]),
    "matrix": (spaces.Box(-1, 1, (2, 2)), [[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0, 3.0, 4.0]),
    "bytes": (spaces.Box(0, 255, (2,), np.uint8), [0, 51], [0.0, 0.2]),
    "picture": (spaces.Box(0, 255, (1, 2, 1), np.uint8), [[[255], [0]]], [1.0, 0.0]),
    "small counts": (spaces.Box(0, 10, (2,), np.uint8), [0, 7], [0.0, 7.0]),
    "choice": (spaces.Discrete(3, start=5), 6, [0.0, 1.0, 0.0]),
    "choices": (spaces.MultiDiscrete([2, 3], start=[0, 1]), [1, 3], [0.0, 1.0, 0.0, 0.0, 1.0]),
    "matrix of choices": (spaces.MultiDiscrete([[2], [2]]), [[0], [1]], [1.0, 0.0, 0.0, 1.0]),
    "bits": (spaces.MultiBinary(2), [True, False], [1.0, 0.0]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_each_kind_of_space_becomes_its_vector(name, batch):
    """Box is flattened, choices are one-hot, bits are floats, pictures end at 1, whatever the leading axes."""
    space, value, vector = CASES[name]
    encode, width = encoder(name, space)
    x = torch.as_tensor(np.asarray(value, space.dtype))
    encoded = encode(x.expand((*batch, *x.shape)))
    assert encoded.dtype == torch.float32
    assert encoded.shape == (*batch, width)
    assert torch.equal(encoded, torch.tensor(vector).expand((*batch, width)))


def test_a_space_that_is_no_vector_is_refused_by_its_group():
    """The problem names the group and the spaces that can be read."""
    message = r"the group 'words' cannot become a vector \(expected Box, Discrete, MultiDiscrete or MultiBinary"
    with pytest.raises(SpecError, match=message):
        encoder("words", spaces.Text(3))
