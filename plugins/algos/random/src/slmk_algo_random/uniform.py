"""Actions drawn uniformly from the action space: what every score is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from slmk import Act, EnvInfo, Metrics, Obs, Parts
from slmk.protocols import Memory, Role
from slmk.toolbox.heads import action_head
from slmk_algo_random import RandomConfig

__all__ = ["Uniform"]

Draw = Callable[[Obs, torch.Generator], Tensor]
"""From observation groups (N, …) and a stream to valid actions (N, *shape)."""


class Uniform:
    """Draws valid actions and learns nothing."""

    learner = None

    @staticmethod
    def roles(config: RandomConfig, env: EnvInfo) -> dict[str, Role]:
        """No networks."""
        return {}

    def __init__(self, config: RandomConfig, env: EnvInfo, parts: Parts) -> None:
        self.horizon = config.horizon
        self.generator = parts.generator
        # A stream of its own, so that evaluations do not change the actions of training.
        seed = parts.generator.initial_seed() ^ 1
        self.policy_generator = torch.Generator(env.device).manual_seed(seed)
        space = env.action_space
        self._draw = _box(space, env.device) if isinstance(space, spaces.Box) else _discrete(space, env.device)

    def act(self, obs: Obs, progress: float) -> Act:
        """A valid action for each environment; a group ``mask`` is honoured."""
        return Act(self._draw(obs, self.generator))

    def policy(self, obs: Obs) -> Tensor:
        """Random as well: the only policy whose evaluation is not deterministic."""
        return self._draw(obs, self.policy_generator)

    def learn(self, memory: Memory | None, progress: float) -> Metrics:
        """Nothing."""
        return {}


def _discrete(space: spaces.Space[Any], device: torch.device) -> Draw:
    """Equal logits for every choice: uniform over those allowed."""
    head = action_head(space).to(device)

    def draw(obs: Obs, generator: torch.Generator) -> Tensor:
        logits = torch.zeros(_count(obs), head.outputs, device=device)
        return head.to_env(head(logits, obs).sample(generator))

    return draw


def _box(space: spaces.Box, device: torch.device) -> Draw:
    """Uniform between two bounds, exponential from a single one, standard normal without any; as Gymnasium samples."""
    low, high = torch.as_tensor(space.low, device=device), torch.as_tensor(space.high, device=device)
    whole = not low.is_floating_point()
    below, above = low.double(), high.double() + whole
    has_low, has_high = below.isfinite(), above.isfinite()
    width = torch.where(has_low & has_high, above - below, 0.0)

    def draw(obs: Obs, generator: torch.Generator) -> Tensor:
        noise = torch.empty(3, _count(obs), *space.shape, dtype=torch.float64, device=device)
        uniform, exponential = noise[0].uniform_(generator=generator), noise[1].exponential_(generator=generator)
        free = torch.where(has_low, below + exponential, noise[2].normal_(generator=generator))
        free = torch.where(has_high, above - exponential, free)
        action = torch.where(has_low & has_high, below + uniform * width, free)
        return (action.floor() if whole else action).to(low.dtype)

    return draw


def _count(obs: Obs) -> int:
    return len(next(iter(obs.values())))
