"""What makes the host wait for an accelerator is found where there is none."""

import pytest
import torch

from slmk.testing.host_sync import host_syncs

X = torch.ones(3)
COUNTS = torch.tensor([1, 2, 3])
WAITING = {
    "item": lambda: X.sum().item(),
    "cpu": lambda: X.cpu(),
    "to by position": lambda: X.to("cpu"),
    "to by keyword": lambda: X.to(device="cpu", dtype=torch.float64),
    "repr": lambda: repr(X),
    "format": lambda: f"{X}",
    "allclose": lambda: torch.allclose(X, X),
    "repeats": lambda: X.repeat_interleave(COUNTS),
    "repeats alone": lambda: torch.repeat_interleave(COUNTS),
    "bincount": lambda: torch.bincount(COUNTS),
    "mask": lambda: X[X > 0],
}
GOING_ON = {
    "to the run's device": lambda: X.to(torch.device("cpu")),
    "to another's device": lambda: X.to(COUNTS),
    "to another type": lambda: X.to(torch.float64),
    "repeated as often each": lambda: X.repeat_interleave(2),
    "repeats with their sum": lambda: X.repeat_interleave(COUNTS, output_size=6),
    "chosen": lambda: X.masked_fill(X > 0, 1.0),
}


@pytest.mark.parametrize("what", WAITING)
def test_what_waits_is_found(what):
    """With this line."""
    with host_syncs() as found:
        WAITING[what]()
    assert found
    assert "test_host_sync.py" in found[0]


@pytest.mark.parametrize("what", GOING_ON)
def test_what_does_not_wait_is_not(what):
    """Nor is what an accelerator would do without the host."""
    with host_syncs() as found:
        GOING_ON[what]()
    assert not found
