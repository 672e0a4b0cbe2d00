"""Stochastic policies, by themselves and with a critic: the network of a role with the head of the action space."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slmk.batch import Act, Obs
from slmk.env_info import EnvInfo
from slmk.model import Model
from slmk.protocols import Normalizer, Role
from slmk.toolbox.distributions import Distribution
from slmk.toolbox.heads import Gaussian, action_head, head_outputs

__all__ = ["Actor", "ActorCritic", "PolicyBased", "actor_role"]


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


class PolicyBased:
    """What algorithms have in common that sample from the policy they train: `act` and `policy`.

    A subclass sets both attributes in its ``__init__``.
    """

    actor: Actor
    generator: torch.Generator
    """Of the device on which the actor is; `Parts.generator`."""

    def act(self, obs: Obs, progress: float) -> Act:
        """Sample from the policy; the sample before clipping or squashing travels along as ``raw``."""
        return self.actor.act(obs, self.generator)

    def policy(self, obs: Obs) -> Tensor:
        """The mode of the policy."""
        return self.actor.mode(obs)


class ActorCritic(PolicyBased):
    """What algorithms have in common that also train a critic V; its targets may be scaled by the normalizer ``value``.

    A subclass sets these attributes too; the network of V has the role ``critic`` and one output.
    """

    model: Model
    normalizers: dict[str, Normalizer]

    def value(self, obs: Obs) -> Tensor:
        """V(obs) in units of (scaled) reward; (*batch,)."""
        return self.as_value(self.model("critic", obs).squeeze(-1))

    def as_value(self, output: Tensor) -> Tensor:
        """What the critic answers (*batch,) in units of reward."""
        return self.normalizers["value"].inverse(output) if "value" in self.normalizers else output

    def as_output(self, value: Tensor) -> Tensor:
        """A value (*batch,) in the units in which the critic answers: the inverse of `as_value`."""
        return self.normalizers["value"](value) if "value" in self.normalizers else value


def actor_role(env: EnvInfo, gaussian: Gaussian = "state_independent") -> Role:
    """The network that `Actor` needs. Its last layer is small (gain 0.01), so that the first policy is near uniform."""
    return Role(head_outputs(env.action_space, gaussian), gain=0.01)
