"""Action heads: from the features of an actor network to a distribution, and from a raw action to the environment's."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from slmk.batch import Obs, allowed_actions
from slmk.config import Gaussian
from slmk.errors import Problem, SpecError
from slmk.toolbox.distributions import Bernoulli, Categorical, Distribution, MultiCategorical, Normal, TanhNormal

__all__ = ["ActionHead", "action_head", "head_outputs"]

MIN_STD = 1e-3
"""Number that is added to standard deviations which a network gives, as in Brax."""
LOG_STD_RANGE = (-20.0, 2.0)
"""Bounds of log σ in the head ``tanh_clamped``: those of the SAC authors' own code."""


class ActionHead(nn.Module, ABC):
    """Base of the heads, one subclass for each kind of action space."""

    outputs: int
    """Features that the actor network must give."""

    @abstractmethod
    def forward(self, features: Tensor, obs: Obs) -> Distribution:
        """The distribution over raw actions.

        Args:
            features: (*batch, outputs).
            obs: the groups acted on; a boolean group ``mask`` says which discrete actions are allowed.
        """

    @abstractmethod
    def to_env(self, raw: Tensor) -> Tensor:
        """Raw actions as the environment wants them: its range, shape and dtype."""


class DiscreteHead(ActionHead):
    """One of n actions; raw actions are int64 (*batch,), from 0."""

    def __init__(self, space: spaces.Discrete) -> None:
        super().__init__()
        self.outputs, self.start = int(space.n), int(space.start)

    def forward(self, features: Tensor, obs: Obs) -> Categorical:
        """Features are logits."""
        return Categorical(features, allowed_actions(obs))

    def to_env(self, raw: Tensor) -> Tensor:
        """Count from the space's start."""
        return raw + self.start if self.start else raw


class MultiDiscreteHead(ActionHead):
    """Several choices at once; raw actions are int64 (*batch, K), from 0."""

    start: Tensor

    def __init__(self, space: spaces.MultiDiscrete) -> None:
        super().__init__()
        self.nvec, self.shape = [int(n) for n in space.nvec.flat], space.nvec.shape
        self.outputs = sum(self.nvec)
        self.register_buffer("start", torch.as_tensor(space.start.reshape(-1), dtype=torch.int64), persistent=False)

    def forward(self, features: Tensor, obs: Obs) -> MultiCategorical:
        """Features are the logits of all choices, one after the other."""
        return MultiCategorical(features, self.nvec, allowed_actions(obs))

    def to_env(self, raw: Tensor) -> Tensor:
        """Count from the space's starts, in its shape."""
        return _shaped(raw + self.start, self.shape)


class MultiBinaryHead(ActionHead):
    """Several bits at once; raw actions are bool (*batch, K)."""

    def __init__(self, space: spaces.MultiBinary) -> None:
        super().__init__()
        self.shape = space.shape
        self.outputs = math.prod(self.shape)

    def forward(self, features: Tensor, obs: Obs) -> Bernoulli:
        """Features are log-odds."""
        return Bernoulli(features)

    def to_env(self, raw: Tensor) -> Tensor:
        """As int8, the dtype of such spaces."""
        return _shaped(raw.to(torch.int8), self.shape)


class GaussianHead(ActionHead):
    """Continuous actions, clipped to the bounds; raw actions are (*batch, A), before clipping."""

    low: Tensor
    high: Tensor

    def __init__(self, space: spaces.Box) -> None:
        super().__init__()
        self.shape = space.shape
        self.dimensions = self.outputs = math.prod(self.shape)
        for name in ("low", "high"):
            self.register_buffer(name, torch.as_tensor(getattr(space, name).reshape(-1)), persistent=False)

    def to_env(self, raw: Tensor) -> Tensor:
        """Clip to the bounds."""
        return _shaped(raw.clamp(self.low, self.high), self.shape)


class StateIndependentHead(GaussianHead):
    """The standard deviation is a parameter, the same for every observation."""

    def __init__(self, space: spaces.Box, log_std_init: float) -> None:
        super().__init__(space)
        self.log_std = nn.Parameter(torch.full((self.dimensions,), log_std_init))

    def forward(self, features: Tensor, obs: Obs) -> Normal:
        """Features are the mean."""
        return Normal(features, self.log_std)


class StateDependentHead(GaussianHead):
    """Mean and standard deviation come from the network: std = softplus(x + c) + 0.001, as in Brax.

    The constant c makes the standard deviation ``exp(log_std_init)`` where the network gives 0; softplus keeps the
    gradient alive however small or large it becomes, which clamping its logarithm does not.
    """

    def __init__(self, space: spaces.Box, log_std_init: float) -> None:
        super().__init__(space)
        self.outputs = 2 * self.dimensions
        width = max(math.exp(log_std_init) - MIN_STD, MIN_STD)
        self.offset = width + math.log(-math.expm1(-width))  # The inverse of softplus, which exp(width) would overflow.

    def parameters_of(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, each (*batch, A)."""
        mean, width = features.chunk(2, -1)
        return mean, (F.softplus(width + self.offset) + MIN_STD).log()

    def forward(self, features: Tensor, obs: Obs) -> Normal:
        """Features are the mean, then the width."""
        return Normal(*self.parameters_of(features))


class TanhHead(StateDependentHead):
    """As `StateDependentHead`, squashed; raw actions are (*batch, A), before tanh."""

    def forward(self, features: Tensor, obs: Obs) -> TanhNormal:
        """Features are the mean, then the width, both before tanh."""
        return TanhNormal(*self.parameters_of(features))

    def to_env(self, raw: Tensor) -> Tensor:
        """Squash and stretch to the bounds."""
        # σ(2x) is (tanh x + 1) / 2, and `lerp` hits both ends exactly.
        return _shaped(torch.lerp(self.low, self.high, (2 * raw).sigmoid().to(self.low.dtype)), self.shape)


class TanhClampedHead(TanhHead):
    """As `TanhHead`, with the logarithm of the standard deviation from the network: Haarnoja et al. (2018)."""

    def __init__(self, space: spaces.Box, log_std_init: float) -> None:
        super().__init__(space, log_std_init)
        self.offset = log_std_init

    def parameters_of(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation, each (*batch, A)."""
        mean, log_std = features.chunk(2, -1)
        return mean, (log_std + self.offset).clamp(*LOG_STD_RANGE)


def head_outputs(space: spaces.Space[Any], gaussian: Gaussian = "state_independent") -> int:
    """How many features the head for `space` needs: known before the head is built.

    Raises:
        SpecError: see `action_head`.
    """
    return action_head(space, gaussian=gaussian).outputs


def action_head(
    space: spaces.Space[Any], *, gaussian: Gaussian = "state_independent", log_std_init: float = 0.0
) -> ActionHead:
    """The head for an action space. Its parameters, if any, are to be trained with the actor.

    Args:
        space: of one environment.
        gaussian: the kind of continuous actions; see `slmk.config.Gaussian`.
        log_std_init: initial log standard deviation of continuous actions.

    Raises:
        SpecError: there is no head for the space, or ``tanh`` meets a Box without bounds.
    """
    match space:
        case spaces.Discrete():
            return DiscreteHead(space)
        case spaces.MultiDiscrete():
            return MultiDiscreteHead(space)
        case spaces.MultiBinary():
            return MultiBinaryHead(space)
        case spaces.Box() if np.issubdtype(space.dtype, np.floating):
            return _continuous_head(space, gaussian, log_std_init)
    supported = "Discrete, MultiDiscrete, MultiBinary or Box of floats"
    raise SpecError([Problem("no action head for this action space", "env", expected=supported, found=str(space))])


def _continuous_head(space: spaces.Box, gaussian: Gaussian, log_std_init: float) -> ActionHead:
    if gaussian == "state_independent":
        return StateIndependentHead(space, log_std_init)
    if gaussian == "state_dependent":
        return StateDependentHead(space, log_std_init)
    if not space.is_bounded("both"):
        hint = "choose 'state_independent' or 'state_dependent'"
        message = "squashed actions need finite bounds"
        raise SpecError([Problem(message, "algorithm.gaussian", expected="a bounded Box", found=str(space), hint=hint)])
    return (TanhHead if gaussian == "tanh" else TanhClampedHead)(space, log_std_init)


def _shaped(flat: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(*batch, A) as (*batch, *shape)."""
    return flat if len(shape) == 1 else flat.reshape(*flat.shape[:-1], *shape)
