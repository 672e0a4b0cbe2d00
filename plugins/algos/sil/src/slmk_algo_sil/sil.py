"""Self-imitation learning (Oh et al. 2018, arXiv:1806.05635) on top of A2C or PPO."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from slmk import Act, Adam, EnvInfo, Learner, Metrics, Obs, Parts, Role, Transition, world
from slmk.protocols import Memory
from slmk.toolbox.actors import Actor, actor_role
from slmk.toolbox.advantages import gae
from slmk.toolbox.critics import Critic
from slmk.toolbox.minibatches import minibatches
from slmk.toolbox.rewards import explained_variance
from slmk.toolbox.scaling import scaled_anew
from slmk.toolbox.schedules import at
from slmk.toolbox.surrogates import clipped_surrogate
from slmk_algo_sil import SILConfig
from slmk_algo_sil.past import Past

__all__ = ["SIL"]

Steps = dict[str, Any]
"""What a loss needs of each step, by name; ``obs`` is a dict of groups."""


class SIL:
    """An on-policy update on each rollout, then updates that make past actions likelier which paid unexpectedly well.

    Both kinds train the same parameters with one optimiser: `learner` and `imitator` hand its state to each other. The
    networks' own parameters are those of `imitator`, as it was made last.
    """

    @staticmethod
    def roles(config: SILConfig, env: EnvInfo) -> dict[str, Role]:
        """An actor that starts near uniform and a critic with one output."""
        return {"actor": actor_role(env, config.gaussian), "critic": Role(1)}

    def __init__(self, config: SILConfig, env: EnvInfo, parts: Parts) -> None:
        self.config = config
        self.horizon = config.horizon
        self.generator = parts.generator
        self.model = parts.model
        self.normalizers = dict(parts.normalizers)
        self.actor = Actor(parts.model, env, gaussian=config.gaussian, log_std_init=config.log_std_init)
        self.critic = Critic(parts.model, self.normalizers.get("value"))
        modules = {"actor": self.actor}
        adam = Adam(config.adam_beta1, config.adam_beta2, config.adam_eps, max_grad_norm=config.max_grad_norm)
        steps = parts.iterations * (config.epochs * config.minibatches + config.imitations)
        self.learner = Learner(modules, self.loss, optimiser=adam, compile=parts.compile, steps_ahead=steps)
        self.imitator = Learner(modules, self.imitation_loss, optimiser=adam, compile=parts.compile, steps_ahead=steps)
        self.imitates = False
        """Whether there was something to imitate so far."""
        rows = config.capacity // env.num_envs
        limit = config.episode_limit or env.max_episode_steps or rows
        self.past = Past(
            rows,
            reach=limit + config.horizon,
            gamma=config.gamma,
            exponent=config.priority_alpha,
            correction=config.priority_beta,
        )

    def act(self, obs: Obs, progress: float) -> Act:
        """Sample from the policy; the sample before clipping or squashing travels along as ``raw``."""
        return self.actor.act(obs, self.generator)

    def policy(self, obs: Obs) -> Tensor:
        """The mode of the policy."""
        return self.actor.mode(obs)

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """Algorithm 1: store the rollout, learn from it, then M times from the past."""
        config = self.config
        rollout = memory.take()
        data, size = self.prepare(rollout), self.model.windows.count(rollout.reward.numel())
        lr, clip, entropy = (at(value, progress) for value in (config.lr, config.clip, config.entropy))
        for _ in range(config.epochs):
            for index in minibatches(size, config.minibatches, self.generator):
                self.learner.step(data, index, lr=lr, clip=clip, entropy=entropy)
        self.imitator.load_state_dict(self.learner.state_dict())  # On whose vector the networks lie.
        # Processes of a world make the same updates: all begin when one of them has something to imitate.
        self.imitates = self.imitates or world.any_of(self.past.ready)
        if self.imitates:
            self.imitate(lr, at(config.imitation_weight, progress))
        self.model.observe(rollout.obs)
        explained = explained_variance(data["returns"], data["value"])
        imitation = {name.replace("update/", "imitation/"): x for name, x in self.imitator.metrics().items()}
        return self.learner.metrics() | imitation | {"value/explained_variance": explained}

    def imitate(self, lr: float, strength: float) -> None:
        """M updates from the past, which leave their state to those on the next rollout."""
        for _ in range(self.config.imitations):
            batch = self.past.sample(self.config.imitation_batch, self.generator)
            told = self.imitator.step(batch, lr=lr, strength=strength)
            self.past.feedback(batch["index"], told["gain"])
        self.learner.load_state_dict(self.imitator.state_dict())

    def abandon(self) -> None:
        """The running episodes do not go on: their steps have no return to imitate."""
        self.past.abandon()

    @torch.no_grad()
    def prepare(self, rollout: Transition) -> Steps:
        """Add a (T, N) rollout to the past, and return what the on-policy loss needs of it, cut into samples."""
        value, next_value = self.value(rollout.obs), self.value(rollout.next_obs)
        raw, done, gamma = rollout.extras["raw"], rollout.terminated | rollout.truncated, self.config.gamma
        cut = rollout.truncated & ~rollout.terminated
        reward = rollout.reward + gamma * torch.where(cut, next_value, 0.0)  # What a cut episode still had before it.
        self.past.add(rollout.obs, {"raw": raw, "reward": reward, "value": value, "done": done})
        ended = rollout.terminated, rollout.truncated
        advantage, returns = gae(rollout.reward, value, next_value, *ended, gamma, self.config.lam)
        self.critic.observe(returns)
        advantage = scaled_anew(
            advantage, self.normalizers.get("advantage"), standardise=self.config.normalize_advantage
        )
        log_prob = self.actor(rollout.obs).log_prob(raw)
        data = {"raw": raw, "log_prob": log_prob, "value": value, "advantage": advantage, "returns": returns}
        return self.model.windows.cut(data | {"obs": rollout.obs})

    def loss(self, data: Steps, index: Tensor, *, clip: Tensor, entropy: Tensor) -> tuple[Tensor, Metrics]:
        """The on-policy loss of the minibatch `index` (B,): the surrogate, the value loss and the entropy bonus."""
        batch = self.model.windows.pick(data, index)
        obs, advantage = batch["obs"], batch["advantage"]
        policy = self.actor(obs)
        log_prob = policy.log_prob(batch["raw"])
        if self.config.objective == "ppo":
            surrogate = clipped_surrogate((log_prob - batch["log_prob"]).exp(), advantage, clip)
        else:
            surrogate = log_prob * advantage
        policy_loss, bonus = -surrogate.mean(), policy.entropy().mean()
        error = self.critic.output(obs) - self.critic.as_output(batch["returns"])
        value_loss = 0.5 * error.square().mean()
        loss = policy_loss + self.config.value_coefficient * value_loss - entropy * bonus
        return loss, {"loss/policy": policy_loss, "loss/value": value_loss, "policy/entropy": bonus}

    def imitation_loss(self, batch: Steps, *, strength: Tensor) -> tuple[Tensor, Metrics]:
        """Eq. 1 to 3 on past steps (B, …): −log π (R − V)₊ and ½ (R − V)₊², in the units of the critic's output."""
        obs, returns, weight = batch["obs"], batch["returns"], batch["weight"]
        output = self.critic.output(obs)
        gain = (self.critic.as_output(returns) - output).clamp(min=0.0)
        log_prob = self.actor(obs).log_prob(batch["raw"])
        policy_loss = -(weight * log_prob * gain.detach()).mean()
        value_loss = 0.5 * (weight * gain.square()).mean()
        loss = strength * (policy_loss + self.config.imitation_value_coefficient * value_loss)
        return loss, {
            "imitation/policy_loss": policy_loss,
            "imitation/value_loss": value_loss,
            "imitation/gaining": ((gain > 0) & (weight > 0)).float().mean(),
            "gain": (returns - self.critic.as_value(output)).clamp(min=0.0),
        }

    def value(self, obs: Obs) -> Tensor:
        """V(obs) in units of (scaled) reward; (*batch,)."""
        return self.critic.value(obs)
