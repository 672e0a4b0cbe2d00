"""Values that travel round the loop."""

import torch

from slmk.batch import MASK, allowed_actions


def test_allowed_actions_are_those_of_the_mask():
    """Whatever dtype the environment gives, they are bool; without a mask there is nothing to say."""
    assert MASK == "mask"
    allowed = allowed_actions({"obs": torch.zeros(2), "mask": torch.tensor([[0, 1], [2, 0]], dtype=torch.int8)})
    assert allowed is not None
    assert allowed.dtype is torch.bool
    assert allowed.tolist() == [[False, True], [True, False]]
    assert allowed_actions({"obs": torch.zeros(2)}) is None
