"""Trainable parameters as views of one flat vector, with the state of their optimiser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from slmk.compilation import written
from slmk.errors import CheckpointError

__all__ = ["ADAM", "Adam", "AdamState", "FlatParameters", "TrainedParameters"]

AdamState = tuple[Tensor, Tensor, Tensor, Tensor]
"""What a step of Adam changes: parameters, both moments, and the count of steps as a float64 tensor (1,)."""


@dataclass(frozen=True, slots=True)
class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) with decoupled weight decay (Loshchilov & Hutter 2019) and norm clipping."""

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0
    """Decay per step, as a multiple of the learning rate."""
    max_grad_norm: float = 0.0
    """Gradients are scaled down to this Euclidean norm; 0 for no clipping."""

    def step(self, state: AdamState, gradient: Tensor, lr: Tensor) -> Tensor:
        """Change `state` in place by one step along `gradient`; returns the gradient's norm before clipping."""
        flat, first_moment, second_moment, count = state
        norm: Tensor = torch.linalg.vector_norm(gradient)
        if self.max_grad_norm:
            gradient = gradient * (self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0)
        first_moment.lerp_(gradient, 1 - self.beta1)
        second_moment.mul_(self.beta2).addcmul_(gradient, gradient, value=1 - self.beta2)
        if self.weight_decay:
            flat.mul_(1 - lr * self.weight_decay)
        count.add_(1)  # Of shape (1,): inductor (torch 2.13) loses an in-place change of a 0-dim CPU tensor.
        bias1, bias2 = (1 - beta**count for beta in (self.beta1, self.beta2))
        size, stretch = written((lr / bias1).to(flat.dtype), bias2.rsqrt().to(flat.dtype))
        root = second_moment.sqrt().mul_(stretch).add_(self.eps)
        flat.sub_(first_moment / root * size)
        return norm


ADAM: Final = Adam()
"""Adam with the constants of its paper."""


class FlatParameters:
    """Some parameters of a module, moved onto one vector of which they become views."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        parameters = [module.get_parameter(name) for name in names]
        self.names = list(names)
        self.shapes = [parameter.shape for parameter in parameters]
        self.flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
        for parameter, view in zip(parameters, self._split(self.flat), strict=True):
            parameter.data = view

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The parameters by name as views of a vector like `flat`."""
        return dict(zip(self.names, self._split(flat), strict=True))

    def slice_of(self, names: Sequence[str]) -> slice:
        """Where the parameters `names` lie on the vector.

        Raises:
            ValueError: they do not lie next to each other, in this order.
        """
        start = self.names.index(names[0])
        if self.names[start : start + len(names)] != list(names):
            raise ValueError("a target network follows parameters that are not trained together")
        sizes = [shape.numel() for shape in self.shapes]
        return slice(sum(sizes[:start]), sum(sizes[: start + len(names)]))

    def _split(self, flat: Tensor) -> Iterator[Tensor]:
        """One `split`, whose gradient is one `cat`."""
        pieces = torch.split(flat, [shape.numel() for shape in self.shapes])
        return (piece.view(shape) for piece, shape in zip(pieces, self.shapes, strict=True))


class TrainedParameters(FlatParameters):
    """Parameters with the state of Adam."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__(module, names)
        self.first_moment = torch.zeros_like(self.flat)
        self.second_moment = torch.zeros_like(self.flat)
        self.count = torch.zeros(1, dtype=torch.float64, device=self.flat.device)

    @property
    def adam_state(self) -> AdamState:
        """What `Adam.step` changes."""
        return self.flat, self.first_moment, self.second_moment, self.count

    def state_dict(self) -> dict[str, Any]:
        """Parameters by name, moments and the count of steps."""
        moments = {"first_moment": self.first_moment, "second_moment": self.second_moment, "count": self.count}
        return {"parameters": self.views(self.flat), **moments}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, in place.

        Raises:
            CheckpointError: the parameters have other names or shapes.
        """
        mine, theirs = self.views(self.flat), state["parameters"]
        if {name: x.shape for name, x in mine.items()} != {name: x.shape for name, x in theirs.items()}:
            raise CheckpointError("the checkpoint's parameters have other names or shapes than this spec's networks")
        with torch.no_grad():
            for name, view in mine.items():
                view.copy_(theirs[name])
            for name in ("first_moment", "second_moment", "count"):
                getattr(self, name).copy_(state[name])
