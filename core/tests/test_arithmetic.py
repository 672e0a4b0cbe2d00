"""The precision of matrix products, and of numbers near zero."""

import pytest
import torch

from slmk.arithmetic import multiplies_in, set_matmul, subnormals_flushed

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def restored():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def relative_error():
    """Of a product of two matrices, against float64."""
    a, b = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0)).unbind()
    exact = a.double() @ b.double()
    return ((a @ b - exact).norm() / exact.norm()).item()


def test_float32_is_exact_to_its_last_bits():
    """Also after another choice."""
    set_matmul("bf16")
    set_matmul("float32")
    assert relative_error() < 1e-6
    assert multiplies_in("float32", CPU)


def test_bf16_rounds_exactly_where_the_cpu_has_it():
    """With 8 significant bits the error is between 2⁻¹² and 2⁻⁷; elsewhere products stay as they are."""
    set_matmul("bf16")
    error = relative_error()
    assert 2**-12 < error < 2**-7 if multiplies_in("bf16", CPU) else error < 1e-6


def test_tf32_is_for_gpus():
    """A CPU has no such arithmetic."""
    assert not multiplies_in("tf32", CPU)
    set_matmul("tf32")
    assert relative_error() < 1e-6


def test_subnormal_numbers_are_zero_where_that_is_asked():
    """1e-39 and what an operation makes so small; the smallest normal number stays. Afterwards all is as before."""
    small = torch.tensor([1e-39, 1.2e-38, 1.0])
    with subnormals_flushed():
        assert (small * 1.0).tolist() == [0.0, pytest.approx(1.2e-38), 1.0]
        assert (torch.tensor([2e-38]) * 0.5).item() == 0.0
        with subnormals_flushed():
            pass
        assert (small * 1.0)[0].item() == 0.0
    assert (small * 1.0)[0].item() > 0
