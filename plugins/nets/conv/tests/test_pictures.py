"""Which groups are pictures, and what becomes of each number in them."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from slmk_net_conv.pictures import picture


def box(*shape, dtype=np.uint8):
    return spaces.Box(0, 255 if dtype == np.uint8 else 1, shape, dtype)


@pytest.mark.parametrize(
    ("shape", "planes"),
    [
        ((9, 7), "bhw -> bhw"),
        ((9, 7, 3), "bhwc -> bchw"),
        ((3, 9, 7), "bchw -> bchw"),
        ((4, 9, 7), "bchw -> bchw"),
        ((2, 9, 7, 3), "bshwc -> bschw"),
        ((2, 3, 9, 7), "bschw -> bschw"),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_layout_becomes_planes(shape, planes, dtype):
    """Channels first, stacks one after the other; bytes are divided by 255, floats stay as they are."""
    if len(shape) == 2 and dtype == np.float32:
        assert picture(box(*shape, dtype=dtype)) is None
        return
    found = picture(box(*shape, dtype=dtype))
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (5, *shape), dtype=np.uint8) if dtype == np.uint8 else rng.random((5, *shape), np.float32)
    before, after = planes.split(" -> ")
    expected = np.einsum(f"{before}->{after}", x.astype(np.float64)).reshape(5, -1, 9, 7)
    expected = expected / 255 if dtype == np.uint8 else expected
    assert (found.channels, found.height, found.width) == expected.shape[1:]
    torch.testing.assert_close(found.planes(torch.as_tensor(x)).double(), torch.as_tensor(expected), rtol=0, atol=1e-6)


def test_bytes_that_are_no_brightness_stay_as_they_are():
    """Grids of bits or of kinds of things, as in MinAtar, would vanish if they were divided by 255."""
    x = torch.ones(2, 9, 7, 4, dtype=torch.uint8)
    assert picture(spaces.Box(0, 1, (9, 7, 4), np.uint8)).planes(x).unique().tolist() == [1.0]


@pytest.mark.parametrize("space", [box(9), box(2, 2, 2, 2, 2), spaces.Discrete(3), spaces.MultiBinary((8, 8))])
def test_other_groups_are_no_pictures(space):
    """Vectors, choices and arrays of five axes are left to others."""
    assert picture(space) is None
