"""The normalizer ``percentile`` against numpy's percentiles and numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from slmk_normalizer_percentile import PercentileConfig
from slmk_normalizer_percentile.percentile import Percentile


def test_first_update_gives_the_range_of_the_batch() -> None:
    """Of 0, 1, …, 100 the 5th and 95th percentile are 5 and 95, so 45 is divided by 90."""
    normalizer = Percentile(PercentileConfig(), ())
    normalizer.update(torch.arange(101.0))
    x = torch.tensor(45.0)
    assert normalizer(x).item() == normalizer.scale(x).item() == pytest.approx(0.5)
    assert normalizer.inverse(normalizer(x)).item() == pytest.approx(45.0)


def test_average_of_two_updates_by_hand() -> None:
    """With decay ½ ranges 90 and 180 weigh ¼ and ½, together ¾: (90 + 2 · 180) / 3 = 150."""
    normalizer = Percentile(PercentileConfig(decay=0.5), ())
    normalizer.update(torch.arange(101.0))
    normalizer.update(2 * torch.arange(101.0))
    assert normalizer.divisor.item() == pytest.approx(150.0)


def test_small_ranges_are_not_blown_up() -> None:
    """A range of 0.09 is below the floor 1: values stay as they are; before any update they do too."""
    normalizer, x = Percentile(PercentileConfig(), ()), torch.tensor([0.05, -3.0])
    assert torch.equal(normalizer(x), x)
    normalizer.update(torch.arange(101.0) / 1000)
    assert torch.equal(normalizer(x), x)


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("count", [1, 2, 37])
def test_percentiles_are_numpys(shape: tuple[int, ...], count: int) -> None:
    """Both ends are numpy's percentiles, element by element, over all batch axes."""
    x = torch.randn(count, 4, *shape, generator=torch.Generator().manual_seed(count))
    normalizer = Percentile(PercentileConfig(low=0.1, high=0.8), shape)
    normalizer.update(x)
    low, high = np.percentile(x.reshape(-1, *shape).numpy(), [10, 80], axis=0)
    np.testing.assert_allclose(normalizer.low.numpy(), low, rtol=1e-5)
    np.testing.assert_allclose(normalizer.high.numpy(), high, rtol=1e-5)


def test_state_restores_everything() -> None:
    """A fresh instance with the state gives the same bits, also after one more update."""
    a, b = Percentile(PercentileConfig(), ()), Percentile(PercentileConfig(), ())
    a.update(torch.arange(50.0))
    b.load_state_dict(a.state_dict())
    for normalizer in (a, b):
        normalizer.update(torch.arange(80.0))
    assert torch.equal(a(torch.tensor(7.0)), b(torch.tensor(7.0)))


def test_a_range_without_width_is_a_problem() -> None:
    """``low`` must be below ``high``."""
    assert [path for path, _ in PercentileConfig(low=0.5, high=0.5).problems({})] == ["low"]
    assert not list(PercentileConfig().problems({}))
    with pytest.raises(ValidationError, match="less than 1"):
        PercentileConfig(decay=1.0)  # It would stay where it is, which is nowhere.
