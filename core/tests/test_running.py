"""The normalizer ``running`` against numpy's mean and variance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slmk.builtin import RunningConfig
from slmk.builtin.running import Running


def batches(*sizes: tuple[int, ...], seed: int = 0) -> list[torch.Tensor]:
    """Normal data with mean 3 and deviation 2, one tensor for each size."""
    generator = torch.Generator().manual_seed(seed)
    return [3 + 2 * torch.randn(*size, generator=generator) for size in sizes]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_statistics_are_those_of_all_data(shape: tuple[int, ...]) -> None:
    """After updates of different sizes and batch axes mean, variance and count equal numpy's over everything."""
    data = batches((5, 4, *shape), (1, *shape), (128, 8, *shape))
    normalizer = Running(RunningConfig(), shape)
    for batch in data:
        normalizer.update(batch)
    seen = np.concatenate([batch.double().numpy().reshape(-1, *shape) for batch in data])
    np.testing.assert_allclose(normalizer.mean.numpy(), seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(normalizer.variance.numpy(), seen.var(0), rtol=1e-12)
    assert normalizer.count.item() == len(seen) == 5 * 4 + 1 + 128 * 8


def test_normalised_data_has_mean_0_and_deviation_1() -> None:
    """The data that moved the statistics comes out standardised, and in float32."""
    (data,) = batches((1000, 3))
    normalizer = Running(RunningConfig(), (3,))
    normalizer.update(data)
    out = normalizer(data)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(3), atol=1e-5, rtol=0)


def test_identity_before_any_update() -> None:
    """Without data nothing is changed, within the clip range."""
    (data,) = batches((10, 3))
    normalizer = Running(RunningConfig(), (3,))
    for function in (normalizer, normalizer.inverse, normalizer.scale):
        assert torch.equal(function(data), data)


def test_clipping_by_hand() -> None:
    """Of data −1 and 1, with mean 0 and deviation 1, the values ±3 come out as ±2 with ``clip = 2``; scale keeps 3."""
    normalizer = Running(RunningConfig(clip=2.0), ())
    normalizer.update(torch.tensor([-1.0, 1.0]))
    x = torch.tensor([-3.0, 0.5, 3.0])
    assert normalizer(x).tolist() == pytest.approx([-2.0, 0.5, 2.0])
    assert normalizer.scale(x).tolist() == pytest.approx([-3.0, 0.5, 3.0])


def test_inverse_and_scale_by_hand() -> None:
    """Of data 1 and 5 (mean 3, deviation 2): 4 becomes 0.5 and comes back, and scaling makes it 2."""
    normalizer = Running(RunningConfig(), ())
    normalizer.update(torch.tensor([1.0, 5.0]))
    x = torch.tensor(4.0)
    assert normalizer(x).item() == pytest.approx(0.5)
    assert normalizer.inverse(normalizer(x)).item() == pytest.approx(4.0)
    assert normalizer.scale(x).item() == pytest.approx(2.0)


def test_a_constant_becomes_0() -> None:
    """A quantity that never changes is 0 after normalising, not rounding noise divided by ε."""
    normalizer = Running(RunningConfig(), ())
    for _ in range(50):
        normalizer.update(torch.full((7,), 0.1))
    assert normalizer(torch.tensor(0.1)).item() == 0.0


def test_large_offsets_lose_no_precision() -> None:
    """With mean 10⁶ and deviation 1 the deviation is right to 1e-3 after 200 updates; Σx² in float32 would not be."""
    generator = torch.Generator().manual_seed(0)
    data = [1e6 + torch.randn(64, generator=generator, dtype=torch.float64) for _ in range(200)]
    normalizer = Running(RunningConfig(), ())
    for batch in data:
        normalizer.update(batch)
    assert normalizer.variance.sqrt().item() == pytest.approx(torch.cat(data).std(correction=0).item(), rel=1e-3)


def test_forward_moves_nothing_and_state_restores_everything() -> None:
    """Only `update` changes buffers; a fresh instance with the state gives the same bits after the next one."""
    first, second = batches((10, 3), (20, 3))
    a, b = Running(RunningConfig(), (3,)), Running(RunningConfig(), (3,))
    a.update(first)
    before = {name: value.clone() for name, value in a.state_dict().items()}
    a(second)
    assert all(torch.equal(before[name], value) for name, value in a.state_dict().items())
    b.load_state_dict(before)
    a.update(second)
    b.update(second)
    assert torch.equal(a(first), b(first))
