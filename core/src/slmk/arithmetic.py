"""How exactly matrices of float32 are multiplied, and whether this machine has the faster ways.

CUDA has no ``bf16`` for float32 matrices and takes it as ``tf32``.
"""

from __future__ import annotations

from typing import Final

import torch

from slmk.config import Matmul

__all__ = ["multiplies_in", "set_matmul"]

_PRECISION: Final = {"float32": "highest", "tf32": "high", "bf16": "medium"}
_AMPERE: Final = (8, 0)


def set_matmul(matmul: Matmul) -> None:
    """Choose for the whole process; compiled updates follow. Where the hardware cannot, torch keeps to float32."""
    torch.set_float32_matmul_precision(_PRECISION[matmul])


def multiplies_in(matmul: Matmul, device: torch.device) -> bool:
    """Whether `device` has such arithmetic, so that asking for it makes a difference."""
    if matmul == "float32":
        return True
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _AMPERE
    capabilities = torch.cpu.get_capabilities()
    return matmul == "bf16" and bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
