"""The normalizer ``symlog`` against the formula."""

from __future__ import annotations

import math

import pytest
import torch

from slmk_normalizer_symlog import SymlogConfig
from slmk_normalizer_symlog.symlog import Symlog


def test_values_by_hand() -> None:
    """symlog(0) = 0, symlog(e − 1) = 1 and symlog(−(e² − 1)) = −2; scaling is the same."""
    x = torch.tensor([0.0, math.e - 1, 1 - math.e**2])
    normalizer = Symlog(SymlogConfig(), ())
    assert normalizer(x).tolist() == normalizer.scale(x).tolist() == pytest.approx([0.0, 1.0, -2.0])


def test_inverse_undoes_it() -> None:
    """Values from −10⁶ to 10⁶, and tiny ones, come back."""
    x = torch.cat([torch.linspace(-1e6, 1e6, 101), torch.linspace(-1e-6, 1e-6, 101)]).double()
    normalizer = Symlog(SymlogConfig(), ())
    torch.testing.assert_close(normalizer.inverse(normalizer(x)), x)


def test_it_has_no_statistics() -> None:
    """Updating changes nothing and there is no state."""
    normalizer, x = Symlog(SymlogConfig(), (2,)), torch.tensor([[1.0, -5.0]])
    before = normalizer(x)
    normalizer.update(100 * x)
    assert torch.equal(normalizer(x), before)
    assert not normalizer.state_dict()
