"""The normalizer ``symlog``: a fixed squashing that keeps the sign and the order."""

from __future__ import annotations

from torch import Tensor, nn

from slmk_normalizer_symlog import SymlogConfig

__all__ = ["Symlog"]


class Symlog(nn.Module):
    """symlog(x) = sign(x) · log(1 + |x|): about x near 0, logarithmic far from it, for any scale without statistics.

    Hafner et al. (2023), arXiv:2301.04104, "Symlog predictions".
    """

    def __init__(self, config: SymlogConfig, shape: tuple[int, ...]) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise symlog; (*batch, *shape)."""
        return x.sign() * x.abs().log1p()

    def inverse(self, x: Tensor) -> Tensor:
        """symexp(x) = sign(x) · (exp|x| − 1)."""
        return x.sign() * x.abs().expm1()

    def scale(self, x: Tensor) -> Tensor:
        """The same as `forward`, which does not shift."""
        return self.forward(x)

    def update(self, x: Tensor) -> None:
        """Nothing: there are no statistics."""
