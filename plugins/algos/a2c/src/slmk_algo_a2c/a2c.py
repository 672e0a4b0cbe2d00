"""Advantage actor-critic (Mnih et al. 2016, arXiv:1602.01783), with one synchronous learner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from slmk import Act, Adam, EnvInfo, Learner, Metrics, Obs, Parts, Role, Transition
from slmk.protocols import Memory
from slmk.toolbox.actors import Actor, actor_role
from slmk.toolbox.advantages import gae
from slmk.toolbox.critics import Critic
from slmk.toolbox.rewards import ReturnScaler, explained_variance
from slmk.toolbox.scaling import scaled_anew
from slmk.toolbox.schedules import at
from slmk_algo_a2c import A2CConfig

__all__ = ["A2C"]

Rollout = dict[str, Any]
"""What the loss needs of each transition, by name, as `slmk.windows` cuts it; ``obs`` is a dict of groups."""


class A2C:
    """One policy-gradient step on each rollout of T × N transitions, with a critic for baseline and bootstrapping."""

    @staticmethod
    def roles(config: A2CConfig, env: EnvInfo) -> dict[str, Role]:
        """An actor that starts near uniform and a critic with one output."""
        return {"actor": actor_role(env, config.gaussian), "critic": Role(1)}

    def __init__(self, config: A2CConfig, env: EnvInfo, parts: Parts) -> None:
        self.config = config
        self.horizon = config.horizon
        self.generator = parts.generator
        self.model = parts.model
        self.normalizers = dict(parts.normalizers)
        self.actor = Actor(parts.model, env, gaussian=config.gaussian, log_std_init=config.log_std_init)
        self.critic = Critic(parts.model, self.normalizers.get("value"))
        self.learner = Learner(
            {"actor": self.actor},
            self.loss,
            optimiser=Adam(config.adam_beta1, config.adam_beta2, config.adam_eps, max_grad_norm=config.max_grad_norm),
            compile=parts.compile,
            steps_ahead=parts.iterations,
        )
        self.scaler = ReturnScaler(config.gamma, env.num_envs, env.device)

    def act(self, obs: Obs, progress: float) -> Act:
        """Sample from the policy; the sample before clipping or squashing travels along as ``raw``."""
        return self.actor.act(obs, self.generator)

    def policy(self, obs: Obs) -> Tensor:
        """The mode of the policy."""
        return self.actor.mode(obs)

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """Algorithm S3 with all environments in step: estimate advantages, then one update."""
        rollout = memory.take()
        data = self.prepare(rollout)
        self.learner.step(data, lr=at(self.config.lr, progress), entropy=at(self.config.entropy, progress))
        self.model.observe(rollout.obs)
        explained = explained_variance(data["returns"], data["value"])
        return self.learner.metrics() | {"value/explained_variance": explained}

    def abandon(self) -> None:
        """The running episodes do not go on, and so their returns do not either."""
        self.scaler.abandon()

    @torch.no_grad()
    def prepare(self, rollout: Transition) -> Rollout:
        """Everything the loss needs of a (T, N) rollout, cut into samples."""
        terminated, truncated = rollout.terminated, rollout.truncated
        reward = self.scaler(rollout.reward, terminated | truncated, self.normalizers.get("reward"))
        value, next_value = self.value(rollout.obs), self.value(rollout.next_obs)
        gamma, lam = self.config.gamma, self.config.lam
        advantage, returns = gae(reward, value, next_value, terminated, truncated, gamma, lam)
        self.critic.observe(returns)
        advantage = scaled_anew(
            advantage, self.normalizers.get("advantage"), standardise=self.config.normalize_advantage
        )
        data = {"raw": rollout.extras["raw"], "advantage": advantage, "returns": returns, "value": value}
        return self.model.windows.cut(data | {"obs": rollout.obs})

    def loss(self, data: Rollout, *, entropy: Tensor) -> tuple[Tensor, Metrics]:
        """Policy gradient, value loss and entropy bonus of the whole rollout: section 4, "Asynchronous advantage …"."""
        obs = data["obs"]
        policy = self.actor(obs)
        policy_loss = -(policy.log_prob(data["raw"]) * data["advantage"]).mean()
        bonus = policy.entropy().mean()
        error = self.critic.output(obs) - self.critic.as_output(data["returns"])
        value_loss = 0.5 * error.square().mean()
        loss = policy_loss + self.config.value_coefficient * value_loss - entropy * bonus
        return loss, {"loss/policy": policy_loss, "loss/value": value_loss, "policy/entropy": bonus}

    def value(self, obs: Obs) -> Tensor:
        """V(obs) in units of (scaled) reward; (*batch,)."""
        return self.critic.value(obs)
