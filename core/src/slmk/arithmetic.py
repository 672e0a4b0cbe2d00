"""How exactly torch computes with float32: products of matrices, and numbers near zero.

Convolutions and recurrent layers of cuDNN are products too; by itself torch has them in TF32, unlike those of matrices.

``bf16`` is for updates compiled for a CPU (`slmk.bf16`); acting and all else stays in float32 there, since small
products gain nothing from it. CUDA has no ``bf16`` for float32 matrices and takes it as ``tf32``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from slmk.config import Matmul

__all__ = ["chosen_matmul", "multiplies_in", "products_in", "set_matmul", "subnormals_flushed"]

_PRECISION: Final = {"float32": "highest", "tf32": "high", "bf16": "high"}
_AMPERE: Final = (8, 0)
_chosen: Matmul = "float32"


def set_matmul(matmul: Matmul) -> None:
    """Choose for the whole process; updates follow that are compiled from then on. Where the hardware cannot, products
    stay in float32."""
    global _chosen
    _chosen = matmul
    torch.set_float32_matmul_precision(_PRECISION[matmul])
    torch.backends.cudnn.allow_tf32 = matmul != "float32"


def chosen_matmul() -> Matmul:
    """What was set last."""
    return _chosen


@contextmanager
def products_in(matmul: Matmul) -> Iterator[None]:
    """Within it products are as chosen here, and as before afterwards."""
    before, precision, convolutions = _chosen, torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    set_matmul(matmul)
    try:
        yield
    finally:
        set_matmul(before)
        # They may have been others, by somebody else's choice.
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = convolutions


@contextmanager
def subnormals_flushed() -> Iterator[None]:
    """Within it, numbers below 1.2e-38 are 0, on this thread and those that it starts, where the CPU can.

    CPUs compute many times slower with such numbers, which training is full of: the first moments of Adam for a unit
    that is always off halve every seven steps, and are as small after a thousand. From then on an update of SAC took
    7.0 ms instead of 5.2 (two hidden layers of 256 units, one core of a Xeon with AVX-512).
    """
    before = (torch.tensor([1e-39]) * 1.0).item() == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def multiplies_in(matmul: Matmul, device: torch.device) -> bool:
    """Whether `device` has such arithmetic, so that asking for it makes a difference."""
    if matmul == "float32":
        return True
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _AMPERE
    capabilities = torch.cpu.get_capabilities()
    return matmul == "bf16" and bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
