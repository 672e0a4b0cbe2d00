"""Numbers in other units, and means of what has weight."""

import pytest
import torch

from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.toolbox.scaling import scaled_anew, standardised, weighted_average, weighted_mean

X = torch.tensor([1.0, 2.0, 3.0, 6.0])


def test_weighted_means():
    """Zeros are not there, other weights count without changing how many there are, and of nothing the mean is 0."""
    assert weighted_mean(X, torch.tensor([1.0, 0.0, 1.0, 0.0])).item() == 2
    assert weighted_mean(X, torch.tensor([0.5, 0.0, 0.5, 0.0])).item() == 1
    assert weighted_mean(X, torch.zeros(4)).item() == 0


@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_weighted_averages(scale):
    """2 of weight 1 and 3 of weight 3 have the average 2.75, however large weights are; of nothing it is 0."""
    assert weighted_average(X, scale * torch.tensor([0.0, 1.0, 3.0, 0.0])).item() == pytest.approx(2.75)
    assert weighted_average(X, torch.zeros(4)).item() == 0


@pytest.mark.parametrize("correction", [0, 1])
def test_standardised(correction):
    """Mean 0 and deviation 1, by either definition; constants become 0."""
    y = standardised(X.view(2, 2), correction=correction)
    assert y.shape == (2, 2)
    assert y.mean().item() == pytest.approx(0, abs=1e-6)
    assert y.std(correction=correction).item() == pytest.approx(1)
    assert standardised(torch.full((3,), 4.0)).tolist() == [0, 0, 0]


def test_scaled_anew_keeps_the_sign():
    """The statistics move first; nothing is shifted."""
    normalizer = Running(RunningConfig(), ())
    scaled = scaled_anew(X, normalizer)
    torch.testing.assert_close(scaled / scaled[0], X)
    torch.testing.assert_close(scaled, normalizer.scale(X))


def test_scaled_anew_without_a_normalizer():
    """Nothing changes, or mean and deviation become 0 and 1; a normalizer takes the place of that."""
    assert scaled_anew(X, None) is X
    torch.testing.assert_close(scaled_anew(X, None, standardise=True), standardised(X))
    one, other = (Running(RunningConfig(), ()) for _ in range(2))
    assert torch.equal(scaled_anew(X, one, standardise=True), scaled_anew(X, other))
