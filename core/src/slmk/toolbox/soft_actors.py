"""Actors that are paid for their entropy, with the temperature that says how much: what soft actor-critics share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from slmk.batch import Act, Obs
from slmk.env_info import EnvInfo
from slmk.learner import Objective
from slmk.model import Model
from slmk.protocols import Metrics
from slmk.toolbox.actors import Actor
from slmk.toolbox.soft import GAUSSIAN, Candidates, soft_actions
from slmk.toolbox.temperature import Temperature, target_entropy, temperature_loss

__all__ = ["SoftActor", "smallest"]


class _Options(Protocol):
    """What the config of a soft actor-critic has."""

    @property
    def temperature(self) -> Literal["auto"] | float: ...
    @property
    def temperature_init(self) -> float: ...
    @property
    def target_entropy(self) -> Literal["auto"] | float: ...


def smallest(q: Tensor) -> Tensor:
    """The least value that any member of an ensemble (E, *batch, K) gives: it is overestimated least."""
    return q.amin(0)


class SoftActor(Actor):
    """The network of the role ``actor`` with tanh-squashed or discrete actions, and α."""

    def __init__(self, options: _Options, env: EnvInfo, model: Model, *, per_dimension: float = -1.0) -> None:
        """
        Args:
            options: `temperature`, `temperature_init` and `target_entropy`.
            env: whose actions they are.
            model: with the roles ``actor`` and ``critic``.
            per_dimension: see `slmk.toolbox.temperature.target_entropy`.

        Raises:
            SpecError: see `slmk.toolbox.soft.soft_actions`.
        """
        super().__init__(model, env, gaussian=GAUSSIAN)
        self.actions = soft_actions(env.action_space).to(env.device)
        self.temperature = Temperature.of(options.temperature, options.temperature_init).to(env.device)
        self.target_entropy = target_entropy(options.target_entropy, env.action_space, per_dimension=per_dimension)

    def explore(self, obs: Obs, generator: torch.Generator, *, uniform: bool = False) -> Act:
        """A sample of the policy for each of N environments; `uniform`: of all actions alike, as in a warm-up."""
        if uniform:
            return Act(self.actions.uniform(obs, generator))
        return Act(self.head.to_env(self(obs).sample(generator)))

    def candidates(self, obs: Obs, noise: Tensor) -> Candidates:
        """Actions to take an expectation over, for groups (*batch, *shape) and `noise` (*batch, A)."""
        return self.actions.candidates(self(obs), noise)

    def value(
        self, critics: Model, obs: Obs, noise: Tensor, over: Callable[[Tensor], Tensor] = smallest
    ) -> tuple[Tensor, Tensor]:
        """V(s) = E[Q(s, a) − α log π(a|s)] and the entropy, (*batch,) each: arXiv:1812.05905, eq. 3.

        Args:
            critics: whose role ``critic`` gives Q, (E, *batch, K).
            obs: groups (*batch, *shape).
            noise: (*batch, A).
            over: makes one value (*batch, K) of those of the ensemble.
        """
        candidates = self.candidates(obs, noise)
        q = over(critics("critic", obs | candidates.inputs))
        entropy = candidates.entropy()
        return candidates.expectation(q) + self.temperature() * entropy, entropy

    @torch.no_grad()
    def expected(self, obs: Obs, over: Callable[[Tensor], Tensor] = smallest) -> Tensor:
        """V(s) for N environments: exact for discrete actions, of the most likely one before tanh for continuous."""
        count = len(next(iter(obs.values())))
        return self.value(self.model, obs, torch.zeros(count, self.actions.dimensions, device=self.device), over)[0]

    def temperature_objective(self) -> dict[str, Objective]:
        """Training α, after an objective with the metric ``policy/entropy``; nothing where it is fixed."""
        if not self.temperature.learned:
            return {}
        return {"temperature": Objective(self.temperature_loss, [self.temperature], sees_metrics=True)}

    def temperature_loss(self, *batch: Any, metrics: Metrics) -> tuple[Tensor, Metrics]:
        """α falls where the policy has more entropy than `target_entropy`, and rises where it has less: eq. 18."""
        alpha = self.temperature()
        loss = temperature_loss(alpha, metrics["policy/entropy"], self.target_entropy)
        return loss, {"loss/temperature": loss, "policy/temperature": alpha}

    @property
    def device(self) -> torch.device:
        """Where α is."""
        return self.temperature.log_alpha.device
