"""Values of discrete actions: from the features of a network to Q(s, ·), and the policies that act by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import torch
from gymnasium import spaces
from torch import Tensor

from slmk.batch import Obs, allowed_actions
from slmk.config import Exploration, Schedule
from slmk.errors import Problem, SpecError
from slmk.toolbox.distributions import Categorical
from slmk.toolbox.schedules import at

__all__ = ["Boltzmann", "EpsilonGreedy", "ValueHead", "ValuePolicy", "value_head", "value_policy"]

LOWEST: Final = torch.finfo(torch.float32).min / 2
"""The value of forbidden actions: finite, so that 0 · value is 0; halved, so that a subtraction cannot overflow."""
HUGE: Final = 1e30
"""Beside numbers of this size values do not matter, but the lowest one still does."""


@dataclass(frozen=True, slots=True)
class ValueHead:
    """From features to the value of each of n actions; actions are counted from 0 here, from `start` outside."""

    actions: int
    """Number of actions, n."""
    start: int = 0
    dueling: bool = False
    """Whether the first feature is the state's value and the others are advantages over it."""

    @property
    def outputs(self) -> int:
        """Features that the network must give."""
        return self.actions + self.dueling

    def __call__(self, features: Tensor, obs: Obs) -> Tensor:
        """Q(s, ·) as (*batch, n), the lowest value where an action is forbidden.

        Args:
            features: (*batch, outputs).
            obs: the groups acted on; a group ``mask`` (*batch, n) says which actions are allowed.
        """
        allowed = allowed_actions(obs)
        values = _dueling(features, allowed) if self.dueling else features
        return values if allowed is None else torch.where(allowed, values, LOWEST)

    def to_env(self, raw: Tensor) -> Tensor:
        """Actions as the environment counts them."""
        return raw + self.start if self.start else raw

    def pick(self, values: Tensor, action: Tensor) -> Tensor:
        """The values (*batch,) of actions (*batch,), as the environment counts them, among `values` (*batch, n)."""
        raw = action - self.start if self.start else action
        return values.gather(-1, raw.unsqueeze(-1)).squeeze(-1)


def value_head(space: spaces.Space[Any], dueling: bool = False) -> ValueHead:
    """The head for an action space.

    Raises:
        SpecError: the space is not Discrete: there is no value for each single action of another one.
    """
    if isinstance(space, spaces.Discrete):
        return ValueHead(int(space.n), int(space.start), dueling)
    hint = "choose an algorithm with an actor"
    message = "values of single actions need a finite number of them"
    raise SpecError([Problem(message, "algorithm.name", expected="a Discrete space", found=str(space), hint=hint)])


class _Options(Protocol):
    """What the config of an algorithm that explores by values has."""

    @property
    def exploration(self) -> Exploration: ...
    @property
    def epsilon(self) -> Schedule: ...
    @property
    def temperature(self) -> Schedule: ...


class ValuePolicy(Protocol):
    """A policy given by the values (*batch, n) of actions; it never takes one that has the lowest value."""

    @property
    def probs(self) -> Tensor:
        """The probability of each action (*batch, n)."""
        ...

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw actions (*batch,) int64, counted from 0."""
        ...


class EpsilonGreedy:
    """With probability ε an allowed action at random, each as likely as another, and else the best one."""

    __slots__ = ("epsilon", "values")

    def __init__(self, values: Tensor, epsilon: float) -> None:
        self.values = values
        self.epsilon = epsilon

    @property
    def probs(self) -> Tensor:
        """ε / |allowed| for each allowed action, and 1 − ε besides for the best."""
        allowed = (self.values > LOWEST).to(self.values.dtype)
        uniform = allowed / allowed.sum(-1, keepdim=True).clamp_min(1)
        greedy = torch.zeros_like(uniform).scatter_(-1, self.values.argmax(-1, keepdim=True), 1.0)
        return torch.lerp(greedy, uniform, self.epsilon)

    def sample(self, generator: torch.Generator) -> Tensor:
        """The best by value, or by random numbers where exploring: few operations, as one is drawn in every step."""
        values = self.values
        numbers = torch.empty_like(values).uniform_(generator=generator)
        explores = values.new_empty((*values.shape[:-1], 1)).bernoulli_(self.epsilon, generator=generator)
        return torch.addcmul(values, explores, numbers, value=HUGE).argmax(-1)


class Boltzmann(Categorical):
    """Each action with a probability proportional to exp(Q / T)."""

    __slots__ = ()

    def __init__(self, values: Tensor, temperature: float) -> None:
        super().__init__((values / temperature).clamp_min(LOWEST))

    @property
    def probs(self) -> Tensor:
        """Softmax of Q / T."""
        return self.log_probs.exp()


def value_policy(values: Tensor, options: _Options, progress: float) -> ValuePolicy:
    """The policy that explores by `values` (*batch, n), as the options say.

    Args:
        values: as `ValueHead` gives them.
        options: `exploration`, and the schedule of its ε or of its temperature T.
        progress: the share of the budget that is used.
    """
    if options.exploration == "epsilon":
        return EpsilonGreedy(values, at(options.epsilon, progress))
    return Boltzmann(values, at(options.temperature, progress))


def _dueling(features: Tensor, allowed: Tensor | None) -> Tensor:
    """V + A − mean A over the allowed actions: Wang et al. (2016), arXiv:1511.06581, eq. 9."""
    value, advantage = features[..., :1], features[..., 1:]
    if allowed is None:
        return value + advantage - advantage.mean(-1, keepdim=True)
    count = allowed.sum(-1, keepdim=True).clamp_min(1)
    return value + advantage - (advantage * allowed).sum(-1, keepdim=True) / count
