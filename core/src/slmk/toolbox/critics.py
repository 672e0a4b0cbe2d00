"""State values: the network of the role ``critic``, which may learn in other units than those of reward."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from slmk.batch import Obs
from slmk.model import Model
from slmk.protocols import Normalizer

__all__ = ["Critic"]


@dataclass(frozen=True, slots=True)
class Critic:
    """V, from observation groups; the role must have one output. It has no state beside that of its two parts."""

    model: Model
    normalizer: Normalizer | None = None
    """Normalises returns: the network answers in its units. None: in units of reward."""

    def value(self, obs: Obs) -> Tensor:
        """V(obs) in units of (scaled) reward, (*batch,), for groups (*batch, *shape)."""
        return self.as_value(self.output(obs))

    def output(self, obs: Obs) -> Tensor:
        """What the network answers, (*batch,), for groups (*batch, *shape)."""
        output: Tensor = self.model("critic", obs)
        return output.squeeze(-1)

    def as_value(self, output: Tensor) -> Tensor:
        """An answer of the network (*batch,) in units of reward."""
        return output if self.normalizer is None else self.normalizer.inverse(output)

    def as_output(self, value: Tensor) -> Tensor:
        """A value (*batch,) in the units in which the network answers: the inverse of `as_value`."""
        return value if self.normalizer is None else self.normalizer(value)

    def observe(self, returns: Tensor) -> None:
        """Move the statistics by which answers are scaled, if they are, by returns (*batch,) in units of reward."""
        if self.normalizer is not None:
            self.normalizer.update(returns)
