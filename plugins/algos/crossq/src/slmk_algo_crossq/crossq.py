"""CrossQ (Bhatt et al. 2024, arXiv:1902.05605): batch normalisation in place of target networks."""

from __future__ import annotations

import torch
from torch import Tensor

from slmk import Act, Adam, EnvInfo, Learner, Metrics, Objective, Obs, Parts, Role
from slmk.batch import CARRY
from slmk.protocols import Memory
from slmk.toolbox.pacing import Pace
from slmk.toolbox.returns import bootstrapped
from slmk.toolbox.scaling import weighted_average, weighted_mean
from slmk.toolbox.schedules import at
from slmk.toolbox.soft import Batch, batch_of, soft_roles
from slmk.toolbox.soft_actors import SoftActor, smallest
from slmk_algo_crossq import CrossQConfig

__all__ = ["CrossQ"]


class CrossQ:
    """Soft actor-critic whose critics see (s, a) and (s′, a′) in one batch, normalised by the statistics of both.

    So the values that are bootstrapped from are those of the critics themselves, on inputs that they are used to.
    """

    @staticmethod
    def roles(config: CrossQConfig, env: EnvInfo) -> dict[str, Role]:
        """An actor, and critics that see the action where it is continuous, or give a value for each discrete one."""
        return soft_roles(env.action_space, config.critics)

    def __init__(self, config: CrossQConfig, env: EnvInfo, parts: Parts) -> None:
        self.config = config
        self.horizon = config.horizon
        self.generator = parts.generator
        self.pace = Pace(config, num_envs=env.num_envs, env_steps=parts.env_steps)
        self.model = parts.model
        self.actor = SoftActor(config, env, parts.model)
        critic, actor = (parts.model.networks[role] for role in ("critic", "actor"))
        adam = Adam(beta1=config.adam_beta1)
        objectives = {
            "critic": Objective(self.critic_loss, [critic], adam),
            "actor": Objective(self.actor_loss, [actor], adam),
            **self.actor.temperature_objective(),
        }
        self.learner = Learner(
            {"actor": self.actor},
            objectives,
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
        """As many gradient steps of the critics as the new transitions are worth; every third is one of all."""
        config = self.config
        lr = at(config.lr, progress)
        rates = {"critic": lr, "actor": lr, "temperature": config.temperature_lr}
        for _ in range(self.pace.due(progress, ready=len(memory) >= config.batch_size)):
            sample = memory.sample(config.batch_size, gamma=config.gamma, n_step=config.n_step, progress=progress)
            noise = self.actor.actions.noise(2, sample.reward, self.generator)
            everything = (self.learner.updates + 1) % config.policy_delay == 0
            only = () if everything else ("critic",)
            outputs = self.learner.step(batch_of(sample), noise, lr=rates, only=only)
            memory.feedback(sample, outputs["error"])
        return self.learner.metrics()

    def critic_loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Metrics]:
        """Figure 2: the squared error of each critic to a target from the other half of the same forward pass."""
        axis = batch["reward"].dim() - 1
        following = self.actor.candidates(batch["next_obs"], noise[1])
        now = batch["obs"] | self.actor.actions.inputs(batch["action"])
        then = batch["next_obs"] | following.inputs
        values, next_values = self.model("critic", joined(now, then, axis)).chunk(2, 1 + axis)

        next_q = following.expectation(smallest(next_values)) + self.actor.temperature() * following.entropy()
        target = bootstrapped(batch["reward"], batch["discount"], batch["terminated"], next_q).detach()
        q = self.actor.actions.taken(values, batch["action"])
        error = q - target
        loss = 0.5 * weighted_mean(error.square().sum(0), batch["weight"])
        return loss, {"loss/critic": loss, "value/q": q.mean(), "error": error.abs().mean(0)}

    def actor_loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Metrics]:
        """SAC's: E[α log π(a|s) − min Q(s, a)], with critics that use their running statistics."""
        value, entropy = self.actor.value(self.model, batch["obs"], noise[0])
        loss = -weighted_mean(value, batch["weight"])
        return loss, {"loss/actor": loss, "policy/entropy": weighted_average(entropy, batch["weight"])}

    def value(self, obs: Obs) -> Tensor:
        """The soft value (N,): exact for discrete actions, of the most likely one before tanh for continuous ones."""
        return self.actor.expected(obs)


def joined(now: Obs, then: Obs, axis: int) -> Obs:
    """Two batches as one of twice the size.

    Args:
        now: groups (B, …), or (L, B, …) for sequences.
        then: the same groups.
        axis: where B is: 0 or 1. Carries have no axis before it.
    """
    return {name: torch.cat([x, then[name]], 0 if name.startswith(CARRY) else axis) for name, x in now.items()}
