"""Soft values, in which a policy is also paid for its entropy: what soft actor-critics share.

An expectation over a policy is a sum over *candidates*, K actions with a weight each: all of them where they can be
counted, else a single sample through which gradients pass. Critics answer with a value for every candidate, so that
losses are written once for both: Haarnoja et al. (2018), arXiv:1812.05905; discrete: Christodoulou (2019),
arXiv:1910.07207.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from slmk.batch import Obs, Sample
from slmk.config import Gaussian
from slmk.errors import Problem, SpecError
from slmk.protocols import Role
from slmk.toolbox.distributions import Categorical, Distribution, Normal
from slmk.toolbox.heads import DiscreteHead, action_head

__all__ = [
    "GAUSSIAN",
    "Batch",
    "Candidates",
    "SoftActions",
    "batch_of",
    "soft_actions",
    "soft_roles",
]

GAUSSIAN: Final[Gaussian] = "tanh_clamped"
"""The kind of continuous actions."""
SMALLEST_LOG: Final = math.log(torch.finfo(torch.float32).tiny)
"""Below it, a probability is 0 in float32."""
ACTION: Final = "action"
"""The critics' input beside observation groups where actions are continuous."""
Batch = dict[str, Any]
"""What losses read of a `Sample`, by name; with axes (B, …), or (L, B, …) for recurrent networks."""


@dataclass(slots=True)
class Candidates:
    """K actions of a policy at each element of the batch."""

    inputs: Obs
    """What critics read of the actions besides observations."""
    probability: Tensor
    """Weights of the actions in an expectation, (*batch, K)."""
    log_prob: Tensor
    """log π of each action, (*batch, K)."""

    def expectation(self, q: Tensor) -> Tensor:
        """E Q(s, a) for `q` (*batch, K); (*batch,)."""
        return (self.probability * q).sum(-1)

    def entropy(self) -> Tensor:
        """E[−log π(a|s)] in nats, (*batch,). Where an action is forbidden it adds 0."""
        return -(self.probability * self.log_prob).sum(-1)


class SoftActions(nn.Module, ABC):
    """What losses and exploration need to know of an action space; one subclass for each kind."""

    dimensions: int = 0
    """A, the standard normal variates that a candidate is made of."""
    values: int = 1
    """K, the outputs of a critic."""
    extra: Mapping[str, spaces.Space[Any]] = MappingProxyType({})
    """What critics read besides observations."""

    @abstractmethod
    def candidates(self, policy: Distribution, noise: Tensor) -> Candidates:
        """Actions to take an expectation over.

        Args:
            policy: of the actor, for observations of shape (*batch, …).
            noise: (*batch, A).
        """

    @abstractmethod
    def inputs(self, action: Tensor) -> Obs:
        """What critics are told besides observations of actions (*batch, *shape) in the environment's range."""

    @abstractmethod
    def taken(self, values: Tensor, action: Tensor) -> Tensor:
        """Q of the actions (*batch, *shape) of which critics were told, from their `values` (E, *batch, K)."""

    @abstractmethod
    def uniform(self, obs: Obs, generator: torch.Generator) -> Tensor:
        """Actions (N, *shape) that are all equally likely, for groups (N, …)."""

    def noise(self, count: int, like: Tensor, generator: torch.Generator) -> Tensor:
        """Standard normal variates for that many candidates at each element of `like` (*batch); (count, *batch, A).

        Drawn outside of losses, since a compiled update holds no generator.
        """
        shape = (count, *like.shape, self.dimensions)
        return torch.empty(shape, device=like.device).normal_(generator=generator)


class CountedActions(SoftActions):
    """n actions: critics give a value for each, and expectations are exact."""

    def __init__(self, space: spaces.Discrete) -> None:
        super().__init__()
        self.head = DiscreteHead(space)
        self.values = self.head.outputs

    def candidates(self, policy: Distribution, noise: Tensor) -> Candidates:
        """All actions, K = n."""
        assert isinstance(policy, Categorical)
        # What is forbidden has a probability of 0 and the lowest log-probability, a multiple of which would overflow.
        return Candidates({}, policy.log_probs.exp(), policy.log_probs.clamp_min(SMALLEST_LOG))

    def inputs(self, action: Tensor) -> Obs:
        """Nothing."""
        return {}

    def taken(self, values: Tensor, action: Tensor) -> Tensor:
        """The value at the action's index; (E, *batch)."""
        index = (action - self.head.start).unsqueeze(-1)
        return values.gather(-1, index.expand(len(values), *index.shape)).squeeze(-1)

    def uniform(self, obs: Obs, generator: torch.Generator) -> Tensor:
        """Among those that the group ``mask`` allows."""
        logits = torch.zeros(_count(obs), self.head.outputs, device=generator.device)
        return self.head.to_env(self.head(logits, obs).sample(generator))


class SampledActions(SoftActions):
    """Continuous actions: critics are told one, squashed into (−1, 1), and expectations are one sample's value."""

    low: Tensor
    width: Tensor

    def __init__(self, space: spaces.Box) -> None:
        super().__init__()
        self.shape = space.shape
        self.dimensions = math.prod(space.shape)
        self.extra = {ACTION: spaces.Box(-1.0, 1.0, (self.dimensions,))}
        low, high = (torch.as_tensor(bound) for bound in (space.low, space.high))
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("width", high - low, persistent=False)

    def candidates(self, policy: Distribution, noise: Tensor) -> Candidates:
        """One action, K = 1, to which gradients pass: the reparametrisation a = tanh(μ + σ ε)."""
        assert isinstance(policy, Normal)
        raw = policy.at(noise)
        log_prob = policy.log_prob(raw).unsqueeze(-1)
        return Candidates({ACTION: raw.tanh()}, torch.ones_like(log_prob), log_prob)

    def inputs(self, action: Tensor) -> Obs:
        """The action stretched from the bounds to [−1, 1] and flattened, (*batch, A)."""
        unit = (action - self.low) / self.width * 2 - 1
        batch = unit.shape[: unit.dim() - len(self.shape)]
        return {ACTION: unit.reshape(*batch, self.dimensions).float()}

    def taken(self, values: Tensor, action: Tensor) -> Tensor:
        """The one value, (E, *batch)."""
        return values.squeeze(-1)

    def uniform(self, obs: Obs, generator: torch.Generator) -> Tensor:
        """Between the bounds."""
        share = torch.empty(_count(obs), *self.shape, dtype=self.low.dtype, device=self.low.device)
        return self.low + self.width * share.uniform_(generator=generator)


def soft_actions(space: spaces.Space[Any]) -> SoftActions:
    """What losses need to know of the actions in `space`.

    Raises:
        SpecError: the space is neither Discrete nor a Box in every dimension of which there is a density.
    """
    match space:
        case spaces.Discrete():
            return CountedActions(space)
        case spaces.Box() if np.issubdtype(space.dtype, np.floating) and _has_width(space):
            return SampledActions(space)
    message = "soft actor-critics cannot act in this action space"
    expected = "Discrete, or a Box of floats whose bounds are finite and apart"
    raise SpecError([Problem(message, "env", expected=expected, found=str(space))])


def soft_roles(space: spaces.Space[Any], critics: int) -> dict[str, Role]:
    """An actor for `space`, and an ensemble of so many critics with a value for each candidate.

    Raises:
        SpecError: see `soft_actions`.
    """
    actions, actor = soft_actions(space), Role(action_head(space, gaussian=GAUSSIAN).outputs)
    return {"actor": actor, "critic": Role(actions.values, extra=actions.extra, ensemble=critics)}


def batch_of(sample: Sample) -> Batch:
    """What losses read of a sample, as a tree."""
    names = ("obs", "action", "reward", "next_obs", "terminated", "discount", "weight")
    return {name: getattr(sample, name) for name in names}


def _has_width(space: spaces.Box) -> bool:
    """Whether every dimension is wider than 0, and not infinitely wide."""
    with np.errstate(over="ignore", invalid="ignore"):
        width = space.high - space.low
    return bool(((width > 0) & np.isfinite(width)).all())


def _count(obs: Obs) -> int:
    return len(next(iter(obs.values())))
