"""RLPD (Ball et al. 2023, arXiv:2302.02948): soft actor-critic with many updates of many critics for each step.

Its half of demonstrations in every batch is the memory's affair. Without any this is REDQ (Chen et al. 2021,
arXiv:2101.05982) where critics have no layer normalisation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from slmk import Act, Average, EnvInfo, Learner, Metrics, Objective, Obs, Parts, Role
from slmk.protocols import Memory
from slmk.toolbox.pacing import Pace
from slmk.toolbox.returns import bootstrapped
from slmk.toolbox.scaling import weighted_average, weighted_mean
from slmk.toolbox.schedules import at
from slmk.toolbox.soft import Batch, batch_of, soft_roles
from slmk.toolbox.soft_actors import SoftActor, smallest
from slmk_algo_rlpd import RLPDConfig

__all__ = ["RLPD"]


class RLPD:
    """E critics, of which the smallest of Z target values is bootstrapped from, and an actor that asks all of them."""

    @staticmethod
    def roles(config: RLPDConfig, env: EnvInfo) -> dict[str, Role]:
        """An actor, and critics that see the action where it is continuous, or give a value for each discrete one."""
        return soft_roles(env.action_space, config.critics)

    def __init__(self, config: RLPDConfig, env: EnvInfo, parts: Parts) -> None:
        self.config = config
        self.horizon = config.horizon
        self.generator = parts.generator
        self.pace = Pace(config, num_envs=env.num_envs, env_steps=parts.env_steps)
        self.model = parts.model
        self.target = parts.model.target("critic")
        self.actor = SoftActor(config, env, parts.model, per_dimension=-0.5)
        critic, actor = (parts.model.networks[role] for role in ("critic", "actor"))
        objectives = {
            "critic": Objective(self.critic_loss, [critic]),
            "actor": Objective(self.actor_loss, [actor]),
            **self.actor.temperature_objective(),
        }
        self.learner = Learner(
            {"actor": self.actor, "target": self.target},
            objectives,
            averages=[Average(self.target.networks["critic"], critic, config.tau)],
            compile=parts.compile,
            steps_ahead=self.pace.steps,
        )

    def act(self, obs: Obs, progress: float) -> Act:
        """Sample from the policy; during the warm-up, any action is as likely as another."""
        self.model.observe(obs)
        return self.actor.explore(obs, self.generator, uniform=self.pace.warms_up(progress))

    def policy(self, obs: Obs) -> Tensor:
        """The mode of the policy."""
        return self.actor.mode(obs)

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """Algorithm 1: many steps of the critics, and after `policy_delay` of them one of actor and temperature."""
        config = self.config
        lr = at(config.lr, progress)
        rates = {"critic": lr, "actor": lr, "temperature": config.temperature_lr}
        for _ in range(self.pace.due(progress, ready=len(memory) >= config.batch_size)):
            sample = memory.sample(config.batch_size, gamma=config.gamma, n_step=config.n_step, progress=progress)
            noise = self.actor.actions.noise(2, sample.reward, self.generator)
            only = () if (self.learner.updates + 1) % config.policy_delay == 0 else ("critic",)
            outputs = self.learner.step(batch_of(sample), noise, self.draw_subset(), lr=rates, only=only)
            memory.feedback(sample, outputs["error"])
        return self.learner.metrics()

    def draw_subset(self) -> Tensor:
        """Indices (Z,) of different target critics."""
        order = torch.randperm(self.config.critics, generator=self.generator, device=self.generator.device)
        return order[: self.config.subset]

    def critic_loss(self, batch: Batch, noise: Tensor, subset: Tensor) -> tuple[Tensor, Metrics]:
        """The squared error of every critic to r + γ min Q(s′, a′), less γ α log π(a′|s′) if `backup_entropy`."""
        obs, weight = batch["obs"], batch["weight"]
        following = self.actor.candidates(batch["next_obs"], noise[1])
        next_values = self.target("critic", batch["next_obs"] | following.inputs, members=subset)
        next_value = following.expectation(smallest(next_values))
        if self.config.backup_entropy:
            next_value = next_value + self.actor.temperature() * following.entropy()
        target = bootstrapped(batch["reward"], batch["discount"], batch["terminated"], next_value)
        values = self.model("critic", obs | self.actor.actions.inputs(batch["action"]))
        q = self.actor.actions.taken(values, batch["action"])
        error = q - target
        loss = 0.5 * weighted_mean(error.square().sum(0), weight)
        return loss, {"loss/critic": loss, "value/q": q.mean(), "error": error.abs().mean(0)}

    def actor_loss(self, batch: Batch, noise: Tensor, subset: Tensor) -> tuple[Tensor, Metrics]:
        """E[α log π(a|s) − Q(s, a)] with the mean of all critics, whose minimum would be far too low."""
        obs, weight = batch["obs"], batch["weight"]
        value, entropy = self.actor.value(self.model, obs, noise[0], over=average)
        loss = -weighted_mean(value, weight)
        return loss, {"loss/actor": loss, "policy/entropy": weighted_average(entropy, weight)}

    def value(self, obs: Obs) -> Tensor:
        """The soft value (N,): exact for discrete actions, of the most likely one before tanh for continuous ones."""
        return self.actor.expected(obs, over=average)


def average(q: Tensor) -> Tensor:
    """The mean over an ensemble (E, *batch, K): of many members the least would be far too low."""
    return q.mean(0)
