"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905); discrete: Christodoulou (2019), arXiv:1910.07207."""

from __future__ import annotations

import torch
from torch import Tensor

from slmk import Act, Average, EnvInfo, Learner, Metrics, Model, Objective, Obs, Parts, Role
from slmk.protocols import Memory
from slmk.toolbox.actors import Actor
from slmk.toolbox.pacing import Pace
from slmk.toolbox.schedules import at
from slmk.toolbox.soft import GAUSSIAN, Batch, batch_of, bootstrapped, soft_actions, soft_roles, weighted_mean
from slmk.toolbox.temperature import Temperature, target_entropy, temperature_loss
from slmk_algo_sac import SACConfig

__all__ = ["SAC"]


class SAC:
    """Maximises return plus α times entropy, off the policy, with an ensemble of critics and their slow copies."""

    @staticmethod
    def roles(config: SACConfig, env: EnvInfo) -> dict[str, Role]:
        """An actor, and critics that see the action where it is continuous, or give a value for each discrete one."""
        return soft_roles(env.action_space, config.critics)

    def __init__(self, config: SACConfig, env: EnvInfo, parts: Parts) -> None:
        self.config = config
        self.horizon = config.horizon
        self.generator = parts.generator
        self.pace = Pace(config, num_envs=env.num_envs, env_steps=parts.env_steps)
        self.model = parts.model
        self.target = parts.model.target("critic")
        self.actor = Actor(parts.model, env, gaussian=GAUSSIAN)
        self.actions = soft_actions(env.action_space, parts.model).to(env.device)
        self.temperature = Temperature.of(config.temperature, config.temperature_init).to(env.device)
        self.target_entropy = target_entropy(config.target_entropy, env.action_space)
        critic, actor = (parts.model.networks[role] for role in ("critic", "actor"))
        objectives = {
            "critic": Objective(self.critic_loss, [critic]),
            "actor": Objective(self.actor_loss, [actor]),
        }
        if self.temperature.learned:
            objectives["temperature"] = Objective(self.temperature_loss, [self.temperature], sees_metrics=True)
        self.learner = Learner(
            {"actor": self.actor, "target": self.target, "temperature": self.temperature, "actions": self.actions},
            objectives,
            averages=[Average(self.target.networks["critic"], critic, config.tau)],
            compile=parts.compile,
            steps_ahead=self.pace.steps,
        )

    @torch.no_grad()
    def act(self, obs: Obs, progress: float) -> Act:
        """Sample from the policy; during the warm-up, any action is as likely as another."""
        self.model.observe(obs)
        if self.pace.warms_up(progress):
            return Act(self.actions.uniform(obs, self.generator))
        return Act(self.actor.head.to_env(self.actor(obs).sample(self.generator)))

    def policy(self, obs: Obs) -> Tensor:
        """The mode of the policy, as in the paper's evaluations."""
        return self.actor.mode(obs)

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """Algorithm 1: as many gradient steps as the new transitions are worth."""
        config = self.config
        lr = at(config.lr, progress)
        rates = {"critic": lr, "actor": lr, "temperature": config.temperature_lr}
        for _ in range(self.pace.due(progress, ready=len(memory) >= config.batch_size)):
            sample = memory.sample(config.batch_size, gamma=config.gamma, n_step=config.n_step, progress=progress)
            noise = self.actions.noise(2, sample.reward, self.generator)
            outputs = self.learner.step(batch_of(sample), noise, lr=rates)
            memory.feedback(sample, outputs["error"])
        return self.learner.metrics()

    def critic_loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Metrics]:
        """Eq. 5: the squared error of each critic to the soft target, ½ (Q(s, a) − r − γ V(s′))²."""
        next_value, _ = self.soft_value(self.target, batch["next_obs"], noise[1])
        target = bootstrapped(batch["reward"], batch["discount"], batch["terminated"], next_value)
        values = self.model("critic", batch["obs"] | self.actions.inputs(batch["action"]))
        q = self.actions.taken(values, batch["action"])
        error = q - target
        loss = 0.5 * weighted_mean(error.square().sum(0), batch["weight"])
        return loss, {"loss/critic": loss, "value/q": q.mean(), "error": error.abs().mean(0)}

    def actor_loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Metrics]:
        """Eq. 7 and 9: the soft value with its sign changed, E[α log π(a|s) − Q(s, a)]."""
        value, entropy = self.soft_value(self.model, batch["obs"], noise[0])
        loss = -weighted_mean(value, batch["weight"])
        return loss, {"loss/actor": loss, "policy/entropy": weighted_mean(entropy, batch["weight"])}

    def temperature_loss(self, batch: Batch, noise: Tensor, *, metrics: Metrics) -> tuple[Tensor, Metrics]:
        """Eq. 18: α falls where the policy has more entropy than `target_entropy`, and rises where it has less."""
        alpha = self.temperature()
        loss = temperature_loss(alpha, metrics["policy/entropy"], self.target_entropy)
        return loss, {"loss/temperature": loss, "policy/temperature": alpha}

    def soft_value(self, critics: Model, obs: Obs, noise: Tensor) -> tuple[Tensor, Tensor]:
        """V(s) = E[min Q(s, a) − α log π(a|s)] of the present policy (eq. 3), and its entropy; (*batch,) each."""
        candidates = self.actions.candidates(self.actor(obs), noise)
        q = critics("critic", obs | candidates.inputs).amin(0)
        entropy = candidates.entropy()
        return candidates.expectation(q) + self.temperature() * entropy, entropy

    def value(self, obs: Obs) -> Tensor:
        """The soft value (N,): exact for discrete actions, of the most likely one before tanh for continuous ones."""
        batch = next(iter(obs.values())).shape[0]
        noise = torch.zeros(batch, self.actions.dimensions, device=self.generator.device)
        return self.soft_value(self.model, obs, noise)[0]
