"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347), with generalised advantage estimation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from slmk import Act, Adam, EnvInfo, Learner, Metrics, Obs, Parts, Role, Transition
from slmk.protocols import Memory
from slmk.toolbox.actors import Actor, actor_role
from slmk.toolbox.advantages import gae
from slmk.toolbox.critics import Critic
from slmk.toolbox.minibatches import minibatches
from slmk.toolbox.rewards import ReturnScaler, explained_variance
from slmk.toolbox.scaling import scaled_anew, standardised
from slmk.toolbox.schedules import at
from slmk.toolbox.surrogates import clipped_surrogate
from slmk_algo_ppo import ByKL, PPOConfig
from slmk_algo_ppo.rate import KLRate

__all__ = ["PPO"]

Rollout = dict[str, Any]
"""What the loss needs of each transition, by name, as `slmk.windows` cuts it; ``obs`` is a dict of groups."""


class PPO:
    """Clipped-surrogate policy gradient on rollouts of T × N transitions.

    Log-probabilities and values of the acting policy are computed once for the whole rollout, just before its first
    update: the parameters and the observation statistics are still those that acted, so the first ratio is 1.
    """

    @staticmethod
    def roles(config: PPOConfig, env: EnvInfo) -> dict[str, Role]:
        """An actor that starts near uniform and a critic with one output."""
        return {"actor": actor_role(env, config.gaussian), "critic": Role(1)}

    def __init__(self, config: PPOConfig, env: EnvInfo, parts: Parts) -> None:
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
            optimiser=Adam(eps=config.adam_eps, max_grad_norm=config.max_grad_norm),
            compile=parts.compile,
            steps_ahead=parts.iterations * config.epochs * config.minibatches,
        )
        self.rate = KLRate(config.lr, env.device) if isinstance(config.lr, ByKL) else None
        self.scaler = ReturnScaler(config.gamma, env.num_envs, env.device)

    def act(self, obs: Obs, progress: float) -> Act:
        """Sample from the policy; the sample before clipping or squashing travels along as ``raw``."""
        return self.actor.act(obs, self.generator)

    def policy(self, obs: Obs) -> Tensor:
        """The mode of the policy."""
        return self.actor.mode(obs)

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """Algorithm 1: estimate advantages, then several epochs of minibatch updates on the surrogate."""
        config = self.config
        rollout = memory.take()
        data, size = self.prepare(rollout), self.model.windows.count(rollout.reward.numel())
        clip, entropy = at(config.clip, progress), at(config.entropy, progress)
        lr = at(config.lr, progress) if self.rate is None else self.rate.value
        for _ in range(config.epochs):
            for index in minibatches(size, config.minibatches, self.generator):
                self.learner.step(data, index, lr=lr, clip=clip, entropy=entropy)
                if self.rate is not None:
                    self.rate.follow(self.learner.latest("policy/kl"))
            if config.target_kl and self.learner.latest("policy/kl", config.minibatches) > config.target_kl:
                break
        self.model.observe(rollout.obs)
        metrics = {"value/explained_variance": explained_variance(data["returns"], data["value"])}
        if self.rate is not None:
            metrics["update/lr"] = self.rate.value.clone()
        return self.learner.metrics() | metrics

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
        advantage = scaled_anew(advantage, self.normalizers.get("advantage"))
        raw = rollout.extras["raw"]
        log_prob = self.actor(rollout.obs).log_prob(raw)
        data = {"raw": raw, "log_prob": log_prob, "value": value, "advantage": advantage, "returns": returns}
        return self.model.windows.cut(data | {"obs": rollout.obs})

    def loss(self, data: Rollout, index: Tensor, *, clip: Tensor, entropy: Tensor) -> tuple[Tensor, Metrics]:
        """Eq. 9: clipped surrogate, value loss and entropy bonus of the minibatch `index` (B,)."""
        batch = self.model.windows.pick(data, index)
        obs, advantage = batch["obs"], batch["advantage"]
        if self.config.normalize_advantage and "advantage" not in self.normalizers:
            advantage = standardised(advantage)

        # Policy: eq. 7.
        policy = self.actor(obs)
        log_ratio = policy.log_prob(batch["raw"]) - batch["log_prob"]
        ratio = log_ratio.exp()
        policy_loss, bonus = -clipped_surrogate(ratio, advantage, clip).mean(), policy.entropy().mean()

        # Critic: squared error to the λ-return, in the units of the critic's output.
        output = self.critic.output(obs)
        target, old = self.critic.as_output(batch["returns"]), self.critic.as_output(batch["value"])
        error = (output - target).square()
        if self.config.value_clip:
            near = old + (output - old).clamp(-self.config.value_clip, self.config.value_clip)
            error = torch.maximum(error, (near - target).square())
        value_loss = 0.5 * error.mean()

        loss = policy_loss + self.config.value_coefficient * value_loss - entropy * bonus
        with torch.no_grad():
            # Schulman's low-variance estimate, http://joschu.net/blog/kl-approx.html
            kl = (ratio - 1 - log_ratio).mean()
            clipped = ((ratio - 1).abs() > clip).float().mean()
        return loss, {
            "loss/policy": policy_loss,
            "loss/value": value_loss,
            "policy/entropy": bonus,
            "policy/kl": kl,
            "policy/clipped": clipped,
        }

    def value(self, obs: Obs) -> Tensor:
        """V(obs) in units of (scaled) reward; (*batch,)."""
        return self.critic.value(obs)
