"""Stochastic policies: the network of a role with the head of the action space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slmk.batch import Act, Obs
from slmk.config import Gaussian
from slmk.env_info import EnvInfo
from slmk.model import Model
from slmk.protocols import Role
from slmk.toolbox.distributions import Distribution
from slmk.toolbox.heads import action_head, head_outputs

__all__ = ["Actor", "actor_role"]


class Actor(nn.Module):
    """From observation groups to a distribution over raw actions; `model`'s role must have `head_outputs` outputs.

    It calls ``forward`` of its own parts rather than the parts: looking for hooks takes 3 of a small policy's 55 µs.
    """

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
        return self.head.forward(self.model.forward(self.role, obs), obs)

    def act(self, obs: Obs, generator: torch.Generator) -> Act:
        """A sample for each of N environments; its value before clipping or squashing travels along as ``raw``."""
        raw = self.forward(obs).sample(generator)
        return Act(self.head.to_env(raw), {"raw": raw})

    def mode(self, obs: Obs) -> Tensor:
        """What the deterministic policy does, in the environment's range (N, *action shape)."""
        return self.head.to_env(self.forward(obs).mode())


def actor_role(env: EnvInfo, gaussian: Gaussian = "state_independent") -> Role:
    """The network that `Actor` needs. Its last layer is small (gain 0.01), so that the first policy is near uniform."""
    return Role(head_outputs(env.action_space, gaussian), gain=0.01)
