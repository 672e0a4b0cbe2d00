"""The precision of matrix products, and of numbers near zero."""

import pytest
import torch

from slmk.arithmetic import chosen_matmul, multiplies_in, products_in, set_matmul, subnormals_flushed

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def restored():
    with products_in("float32"):
        yield


def relative_error():
    """Of a product of two matrices, against float64."""
    a, b = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0)).unbind()
    exact = a.double() @ b.double()
    return ((a @ b - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("matmul", ["float32", "tf32", "bf16"])
def test_products_outside_of_updates_are_exact_on_a_cpu(matmul):
    """To the last bits of float32: tf32 is for GPUs, and bf16 for updates that are compiled."""
    set_matmul(matmul)
    assert relative_error() < 1e-6
    assert chosen_matmul() == matmul


def test_what_a_cpu_has():
    """Float32 everywhere, tf32 nowhere."""
    assert multiplies_in("float32", CPU)
    assert not multiplies_in("tf32", CPU)


def test_a_choice_ends_where_it_was_made():
    """Torch has its own precision back as well, which may be nobody's choice here."""
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = False
    with products_in("bf16"):
        assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("high", True)
    assert (chosen_matmul(), torch.get_float32_matmul_precision()) == ("float32", "medium")
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(("matmul", "allowed"), [("float32", False), ("tf32", True), ("bf16", True)])
def test_convolutions_of_a_gpu_are_products_too(matmul, allowed):
    """Torch itself has them in TF32 whatever is said of matrices."""
    set_matmul(matmul)
    assert torch.backends.cudnn.allow_tf32 == allowed


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
