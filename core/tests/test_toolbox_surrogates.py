"""Surrogate objectives against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from slmk.toolbox.surrogates import clipped_surrogate


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "slope"),
    [
        (1.0, 2.0, 2.0, 2.0),  # Where it begins: the plain policy gradient.
        (1.1, 2.0, 2.2, 2.0),  # Within the range: ρ A.
        (1.5, 2.0, 2.4, 0.0),  # A gain beyond 1.2 earns no more.
        (0.5, 2.0, 1.0, 2.0),  # A loss of what was good counts in full.
        (0.5, -2.0, -1.6, 0.0),  # What was bad has become rare enough at 0.8.
        (1.5, -2.0, -3.0, -2.0),  # More of what was bad counts in full.
    ],
)
def test_clipped_surrogate_and_its_slope(ratio: float, advantage: float, value: float, slope: float) -> None:
    """With ε = 0.2: the lesser of ρ A and the clipped one, and its derivative by ρ."""
    rho = torch.tensor([ratio], requires_grad=True)
    surrogate = clipped_surrogate(rho, torch.tensor([advantage]), torch.tensor(0.2))
    surrogate.backward()
    assert surrogate.item() == pytest.approx(value)
    assert rho.grad is not None
    assert rho.grad.item() == pytest.approx(slope)


def test_any_leading_axes() -> None:
    """Windows (L, B) give (L, B), each element by itself."""
    ratio, advantage = torch.rand(3, 4), torch.randn(3, 4)
    expected = clipped_surrogate(ratio.flatten(), advantage.flatten(), torch.tensor(0.2)).view(3, 4)
    assert torch.equal(clipped_surrogate(ratio, advantage, torch.tensor(0.2)), expected)
