"""Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347), with generalised advantage estimation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from slmk import Act, Adam, EnvInfo, Learner, Metrics, Obs, Parts, Role, Transition
from slmk.protocols import Memory
from slmk.toolbox.advantages import gae
from slmk.toolbox.heads import action_head, head_outputs
from slmk.toolbox.returns import discounted
from slmk.toolbox.schedules import at
from slmk_algo_ppo import PPOConfig

__all__ = ["PPO"]

Rollout = dict[str, Any]
"""What the loss needs of each transition, (T·N, …) tensors by name; ``obs`` is a dict of groups."""


class PPO:
    """Clipped-surrogate policy gradient on rollouts of T × N transitions.

    Log-probabilities and values of the acting policy are computed once for the whole rollout, just before its first
    update: the parameters and the observation statistics are still those that acted, so the first ratio is 1.
    """

    @staticmethod
    def roles(config: PPOConfig, env: EnvInfo) -> dict[str, Role]:
        """An actor that starts near uniform (gain 0.01) and a critic with one output."""
        outputs = head_outputs(env.action_space, config.gaussian)
        return {"actor": Role(outputs, gain=0.01), "critic": Role(1)}

    def __init__(self, config: PPOConfig, env: EnvInfo, parts: Parts) -> None:
        self.config = config
        self.horizon = config.horizon
        self.generator = parts.generator
        self.model = parts.model
        self.normalizers = dict(parts.normalizers)
        self.head = action_head(env.action_space, gaussian=config.gaussian, log_std_init=config.log_std_init)
        self.head.to(env.device)
        self.learner = Learner(
            {"model": self.model, "head": self.head},
            self.loss,
            optimiser=Adam(eps=config.adam_eps, max_grad_norm=config.max_grad_norm),
            compile=parts.compile,
            steps_ahead=parts.iterations * config.epochs * config.minibatches,
        )
        self.carry = torch.zeros(env.num_envs, device=env.device)
        """γ times the running discounted return of each environment (N,), for reward scaling."""

    @torch.no_grad()
    def act(self, obs: Obs, progress: float) -> Act:
        """Sample from the policy; the sample before clipping or squashing travels along as ``raw``."""
        raw = self.head(self.model("actor", obs), obs).sample(self.generator)
        return Act(self.head.to_env(raw), {"raw": raw})

    @torch.no_grad()
    def policy(self, obs: Obs) -> Tensor:
        """The mode of the policy."""
        return self.head.to_env(self.head(self.model("actor", obs), obs).mode())

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """Algorithm 1: estimate advantages, then several epochs of minibatch updates on the surrogate."""
        config = self.config
        rollout = memory.take()
        data = self.prepare(rollout)
        lr, clip, entropy = (at(value, progress) for value in (config.lr, config.clip, config.entropy))
        for _ in range(config.epochs):
            for index in self.minibatches(len(data["advantage"])):
                self.learner.step(data, index, lr=lr, clip=clip, entropy=entropy)
            if config.target_kl and self.learner.latest("policy/kl", config.minibatches) > config.target_kl:
                break
        self.model.observe(rollout.obs)
        return self.learner.metrics() | {"value/explained_variance": explained_variance(data)}

    def minibatches(self, size: int) -> Tensor:
        """A random permutation of all samples as (minibatches, size / minibatches) indices."""
        order = torch.randperm(size, generator=self.generator, device=self.generator.device)
        return order.view(self.config.minibatches, -1)

    @torch.no_grad()
    def prepare(self, rollout: Transition) -> Rollout:
        """Everything the loss needs of a (T, N) rollout, flattened to (T·N, …)."""
        reward = self.scale_rewards(rollout)
        value, next_value = self.value(rollout.obs), self.value(rollout.next_obs)
        ended = rollout.terminated, rollout.truncated
        advantage, returns = gae(reward, value, next_value, *ended, self.config.gamma, self.config.lam)
        if "value" in self.normalizers:
            self.normalizers["value"].update(returns)
        if "advantage" in self.normalizers:
            self.normalizers["advantage"].update(advantage)
            advantage = self.normalizers["advantage"].scale(advantage)
        raw = rollout.extras["raw"]
        log_prob = self.head(self.model("actor", rollout.obs), rollout.obs).log_prob(raw)
        data = {"raw": raw, "log_prob": log_prob, "value": value, "advantage": advantage, "returns": returns}
        flat: Rollout = {name: x.flatten(0, 1) for name, x in data.items()}
        return flat | {"obs": {name: x.flatten(0, 1) for name, x in rollout.obs.items()}}

    def loss(self, data: Rollout, index: Tensor, *, clip: Tensor, entropy: Tensor) -> tuple[Tensor, Metrics]:
        """Eq. 9: clipped surrogate, value loss and entropy bonus of the minibatch `index` (B,)."""
        obs = {name: x[index] for name, x in data["obs"].items()}
        raw, old_log_prob, old_value, advantage, returns = (
            data[name][index] for name in ("raw", "log_prob", "value", "advantage", "returns")
        )
        if self.config.normalize_advantage and "advantage" not in self.normalizers:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

        # Policy: eq. 7.
        policy = self.head(self.model("actor", obs), obs)
        log_ratio = policy.log_prob(raw) - old_log_prob
        ratio = log_ratio.exp()
        surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
        policy_loss, bonus = -surrogate.mean(), policy.entropy().mean()

        # Critic: squared error to the λ-return, in the units of the critic's output.
        output, target, old = self.model("critic", obs).squeeze(-1), self.as_output(returns), self.as_output(old_value)
        error = (output - target).square()
        if self.config.value_clip:
            near = old + (output - old).clamp(-self.config.value_clip, self.config.value_clip)
            error = torch.maximum(error, (near - target).square())
        value_loss = 0.5 * error.mean()

        loss = policy_loss + self.config.value_coefficient * value_loss - entropy * bonus
        with torch.no_grad():
            kl = (
                ratio - 1 - log_ratio
            ).mean()  # Schulman's low-variance estimate, http://joschu.net/blog/kl-approx.html
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
        output = self.model("critic", obs).squeeze(-1)
        return self.normalizers["value"].inverse(output) if "value" in self.normalizers else output

    def as_output(self, value: Tensor) -> Tensor:
        """A value in the units of the critic's output; the inverse of what `value` does."""
        return self.normalizers["value"](value) if "value" in self.normalizers else value

    def scale_rewards(self, rollout: Transition) -> Tensor:
        """Rewards (T, N) divided by the running standard deviation of the discounted return, if the spec says so."""
        if "reward" not in self.normalizers:
            return rollout.reward
        alive = self.config.gamma * (~(rollout.terminated | rollout.truncated)).float()
        # Forward recurrence G_t = r_t + γ (1 − done_{t−1}) G_{t−1}: the backward one with time reversed.
        reward = rollout.reward.clone()
        reward[0] += self.carry
        decay = torch.cat([torch.zeros_like(alive[:1]), alive[:-1]])
        running = discounted(reward.flip(0), decay.flip(0)).flip(0)
        self.carry.copy_(alive[-1] * running[-1])
        self.normalizers["reward"].update(running)
        return self.normalizers["reward"].scale(rollout.reward)


def explained_variance(data: Rollout) -> Tensor:
    """1 − Var(returns − value) / Var(returns): 1 for a perfect critic, 0 for one that knows only the mean."""
    returns, value = data["returns"], data["value"]
    return 1 - (returns - value).var() / (returns.var() + 1e-8)
