"""SARSA (Rummery & Niranjan 1994; Sutton & Barto 2018, section 6.4), with λ-returns and Expected SARSA."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from slmk import Act, Adam, EnvInfo, Learner, Metrics, Obs, Parts, Role, Transition
from slmk.protocols import Memory
from slmk.toolbox.advantages import gae
from slmk.toolbox.rewards import ReturnScaler
from slmk.toolbox.schedules import at
from slmk.toolbox.values import value_head, value_policy
from slmk_algo_sarsa import SARSAConfig

__all__ = ["SARSA"]

Rollout = dict[str, Any]
"""What the loss needs of each transition, by name, as `slmk.windows` cuts it; ``obs`` is a dict of groups."""


class SARSA:
    """Learns the values of actions under the policy that acts, exploration included, from rollouts of T × N steps."""

    @staticmethod
    def roles(config: SARSAConfig, env: EnvInfo) -> dict[str, Role]:
        """One network, with an output for each action."""
        return {"q": Role(value_head(env.action_space).outputs)}

    def __init__(self, config: SARSAConfig, env: EnvInfo, parts: Parts) -> None:
        self.config = config
        self.horizon = config.horizon
        self.generator = parts.generator
        self.model = parts.model
        self.normalizers = dict(parts.normalizers)
        self.head = value_head(env.action_space)
        self.learner = Learner(
            {"model": self.model},
            self.loss,
            optimiser=Adam(max_grad_norm=config.max_grad_norm),
            compile=parts.compile,
            steps_ahead=parts.iterations,
        )
        self.scaler = ReturnScaler(config.gamma, env.num_envs, env.device)

    def act(self, obs: Obs, progress: float) -> Act:
        """Draw from the policy that the values give."""
        policy = value_policy(self.values(obs), self.config, progress)
        return Act(self.head.to_env(policy.sample(self.generator)))

    def policy(self, obs: Obs) -> Tensor:
        """The best action by value."""
        return self.head.to_env(self.values(obs).argmax(-1))

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """One update on all transitions of a rollout."""
        rollout = memory.take()
        self.learner.step(self.prepare(rollout, progress), lr=at(self.config.lr, progress))
        self.model.observe(rollout.obs)
        return self.learner.metrics()

    def abandon(self) -> None:
        """The running episodes do not go on, and so their returns do not either."""
        self.scaler.abandon()

    @torch.no_grad()
    def prepare(self, rollout: Transition, progress: float) -> Rollout:
        """What the values of a (T, N) rollout's actions should be, cut into samples."""
        terminated, truncated = rollout.terminated, rollout.truncated
        done = terminated | truncated
        reward = self.scaler(rollout.reward, done, self.normalizers.get("reward"))
        values = self.values(rollout.obs)
        value = self.expectation(values, progress) if self.config.expected else self.head.pick(values, rollout.action)
        # Q(s′, a′) by the action a′ taken next. At a cut and at the rollout's end it is not known: its expectation.
        following = self.expectation(self.values(rollout.next_obs), progress)
        following[:-1] = torch.where(done[:-1], following[:-1], value[1:])
        _, returns = gae(reward, value, following, terminated, truncated, self.config.gamma, self.config.lam)
        return self.model.windows.cut({"obs": rollout.obs, "action": rollout.action, "returns": returns})

    def loss(self, data: Rollout) -> tuple[Tensor, Metrics]:
        """The error of the values of the actions taken; targets are constants (a semi-gradient)."""
        value, target = self.head.pick(self.values(data["obs"]), data["action"]), data["returns"]
        clips = self.config.loss == "huber"
        loss = F.huber_loss(value, target) if clips else 0.5 * F.mse_loss(value, target)
        return loss, {"loss/q": loss, "value/q": value.mean()}

    def expectation(self, values: Tensor, progress: float) -> Tensor:
        """E Q(s, a) over the policy's actions, (*batch,)."""
        return (value_policy(values, self.config, progress).probs * values).sum(-1)

    @torch.no_grad()
    def value(self, obs: Obs) -> Tensor:
        """max Q(obs, ·), (*batch,)."""
        return self.values(obs).amax(-1)

    def values(self, obs: Obs) -> Tensor:
        """Q(obs, ·), (*batch, n)."""
        return self.head(self.model("q", obs), obs)
