"""Normalisation of a layer's features: by layer, by batch, and batch renormalisation.

Features are (*batch, F), or (members, B, F) in an ensemble, where each member has parameters and statistics of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slmk.compilation import written

if TYPE_CHECKING:
    from slmk_net_mlp import MLPConfig

__all__ = ["BatchNorm", "BatchRenorm", "LayerNorm", "Norm", "norm"]

SCALE_LIMIT: Final = 3.0
"""r_max of batch renormalisation: Ioffe (2017), section 3; kept by CrossQ's authors."""
SHIFT_LIMIT: Final = 5.0
"""d_max of batch renormalisation, from the same places as r_max."""


class Norm(nn.Module, ABC):
    """Base of the normalisations: a scale and a shift for each feature, to be trained."""

    def __init__(self, width: int, ensemble: int) -> None:
        """Start as the identity on normalised features; `ensemble` is the number of members, 0 for none."""
        super().__init__()
        self.ensemble = ensemble
        self.shape = (ensemble, 1, width) if ensemble else (width,)
        self.weight = nn.Parameter(torch.ones(self.shape))
        self.bias = nn.Parameter(torch.zeros(self.shape))

    @abstractmethod
    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        """Normalise features; in an ensemble `members` (K,) says whose they are, if not those of all."""


class LayerNorm(Norm):
    """Over the features of each sample: Ba et al. (2016), arXiv:1607.06450."""

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        """Normalise each row of `x` by its mean and variance."""
        if not self.ensemble:
            return F.layer_norm(x, self.shape, self.weight, self.bias)
        return torch.addcmul(_of(self.bias, members), F.layer_norm(x, self.shape[-1:]), _of(self.weight, members))


class BatchNorm(Norm):
    """Over all samples of a batch: Ioffe & Szegedy (2015), arXiv:1502.03167.

    In training, which is where gradients with respect to its parameters are computed, it uses the statistics of the
    batch at hand and moves the running ones; elsewhere it uses those. So neither acting nor bootstrapping depends on
    who else is in the batch, and one environment is enough to act.
    """

    mean: Tensor
    var: Tensor
    eps: float = 1e-5

    def __init__(self, width: int, ensemble: int, momentum: float) -> None:
        """`momentum` is the share of the running statistics that a batch leaves."""
        super().__init__(width, ensemble)
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(self.shape))
        self.register_buffer("var", torch.ones(self.shape))

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        """Normalise `x` by the statistics of the batch in training, else by the running ones."""
        weight, bias = _of(self.weight, members), _of(self.bias, members)
        if not (self.weight.requires_grad and torch.is_grad_enabled()):
            mean, scale = written(_of(self.mean, members), weight / (_of(self.var, members) + self.eps).sqrt())
            return torch.addcmul(bias, x - mean, scale)
        rows, keepdim = x if self.ensemble else x.reshape(-1, x.shape[-1]), self.ensemble > 0
        # Sums rather than `mean`, which compiled code divides in every element, and `var_mean`, which is slow eager.
        share = 1 / rows.shape[-2]
        mean = rows.sum(-2, keepdim=keepdim) * share
        centred = rows - mean.detach()  # To the mean the derivative of the variance is 0.
        var = centred.square().sum(-2, keepdim=keepdim) * share
        mean, var = written(mean, var)
        spread = (var + self.eps).sqrt()
        with torch.no_grad():
            factor, summand = self.corrections(mean, spread, members)
            self._move(mean, var, members)
        scale = weight * factor / spread
        moved = (mean - mean.detach()) * scale  # It is 0, with the gradient to the mean that `centred` has lost.
        scale, shift = written(scale, torch.addcmul(bias, weight, summand) - moved)
        return torch.addcmul(shift, centred, scale).view_as(x)

    def corrections(self, mean: Tensor, spread: Tensor, members: Tensor | None) -> tuple[Tensor, Tensor]:
        """Factor and summand of the normalised features, as constants: 1 and 0 here."""
        return torch.ones_like(mean), torch.zeros_like(mean)

    def _move(self, mean: Tensor, var: Tensor, members: Tensor | None) -> None:
        for running, new in ((self.mean, mean), (self.var, var)):
            if members is None:
                running.lerp_(new, 1 - self.momentum)
            else:
                running.index_copy_(0, members, running[members].lerp_(new, 1 - self.momentum))


class BatchRenorm(BatchNorm):
    """Batch renormalisation: Ioffe (2017), arXiv:1702.03275, algorithm 1.

    Corrects features normalised by the batch, x̂ = (x − μ_B) / σ_B · r + d, so that they are those of the running
    statistics, up to limits: r = σ_B / σ within [1 / r_max, r_max], d = (μ_B − μ) / σ within ±d_max, both constants to
    the gradient. So training and acting see the same function. In the first steps, while the running statistics are
    still far off, it is plain batch normalisation.
    """

    steps: Tensor
    eps = 1e-3

    def __init__(self, width: int, ensemble: int, momentum: float, warm_up: int) -> None:
        """`warm_up` is the number of batches in training that are not corrected."""
        super().__init__(width, ensemble, momentum)
        self.warm_up = warm_up
        # Of shape (1,): inductor (torch 2.13) loses an in-place change of a 0-dim CPU tensor.
        self.register_buffer("steps", torch.zeros(1, dtype=torch.int64))

    def corrections(self, mean: Tensor, spread: Tensor, members: Tensor | None) -> tuple[Tensor, Tensor]:
        """The r and d of the paper, by the running statistics from before this batch."""
        running = (_of(self.var, members) + self.eps).sqrt()
        r = (spread / running).clamp(1 / SCALE_LIMIT, SCALE_LIMIT)
        d = ((mean - _of(self.mean, members)) / running).clamp(-SHIFT_LIMIT, SHIFT_LIMIT)
        warm = self.steps >= self.warm_up
        self.steps.add_(1)
        return torch.where(warm, r, 1.0), torch.where(warm, d, 0.0)


def norm(config: MLPConfig, width: int, ensemble: int) -> Norm:
    """The normalisation that `config` asks for, of `width` features."""
    match config.norm:
        case "layer":
            return LayerNorm(width, ensemble)
        case "batch":
            return BatchNorm(width, ensemble, config.norm_momentum)
        case "batch_renorm":
            return BatchRenorm(width, ensemble, config.norm_momentum, config.norm_warm_up)
    raise ValueError(f"there is no normalisation {config.norm!r}")


def _of(x: Tensor, members: Tensor | None) -> Tensor:
    return x if members is None else x[members]
