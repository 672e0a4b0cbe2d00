"""Stochastic policies: the network of a role with the head of the action space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slmk.batch import Act, Obs
from slmk.env_info import EnvInfo
from slmk.model import Model
from slmk.toolbox.distributions import Distribution
from slmk.toolbox.heads import Gaussian, action_head

__all__ = ["Actor"]


class Actor(nn.Module):
    """From observation groups to a distribution over raw actions; `model`'s role must have `head_outputs` outputs."""

    def __init__(
        self,
        model: Model,
        env: EnvInfo,
        *,
        role: str = "actor",
        gaussian: Gaussian = "state_independent",
        log_std_init: float = 0.0,
    ) -> None:
        """See `slmk.toolbox.heads.action_head` for the options of continuous actions, and for what it raises."""
        super().__init__()
        self.role = role
        self.model = model
        self.head = action_head(env.action_space, gaussian=gaussian, log_std_init=log_std_init).to(env.device)

    def forward(self, obs: Obs) -> Distribution:
        """The distribution for groups (*batch, *shape)."""
        return self.head(self.model(self.role, obs), obs)  # type: ignore[no-any-return]

    @torch.no_grad()
    def act(self, obs: Obs, generator: torch.Generator) -> Act:
        """A sample for each of N environments; its value before clipping or squashing travels along as ``raw``."""
        raw = self(obs).sample(generator)
        return Act(self.head.to_env(raw), {"raw": raw})

    @torch.no_grad()
    def mode(self, obs: Obs) -> Tensor:
        """What the deterministic policy does, in the environment's range (N, *action shape)."""
        return self.head.to_env(self(obs).mode())
