"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905); discrete: Christodoulou (2019), arXiv:1910.07207."""

from __future__ import annotations

from torch import Tensor

from slmk import Act, Average, EnvInfo, Learner, Metrics, Objective, Obs, Parts, Role
from slmk.protocols import Memory
from slmk.toolbox.pacing import Pace
from slmk.toolbox.returns import bootstrapped
from slmk.toolbox.scaling import weighted_average, weighted_mean
from slmk.toolbox.schedules import at
from slmk.toolbox.soft import Batch, batch_of, soft_roles
from slmk.toolbox.soft_actors import SoftActor
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
        self.actor = SoftActor(config, env, parts.model)
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
        """The mode of the policy, as in the paper's evaluations."""
        return self.actor.mode(obs)

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """Algorithm 1: as many gradient steps as the new transitions are worth."""
        config = self.config
        lr = at(config.lr, progress)
        rates = {"critic": lr, "actor": lr, "temperature": config.temperature_lr}
        for _ in range(self.pace.due(progress, ready=len(memory) >= config.batch_size)):
            sample = memory.sample(config.batch_size, gamma=config.gamma, n_step=config.n_step, progress=progress)
            noise = self.actor.actions.noise(2, sample.reward, self.generator)
            outputs = self.learner.step(batch_of(sample), noise, lr=rates)
            memory.feedback(sample, outputs["error"])
        return self.learner.metrics()

    def critic_loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Metrics]:
        """Eq. 5: the squared error of each critic to the soft target, ½ (Q(s, a) − r − γ V(s′))²."""
        next_value, _ = self.actor.value(self.target, batch["next_obs"], noise[1])
        target = bootstrapped(batch["reward"], batch["discount"], batch["terminated"], next_value)
        values = self.model("critic", batch["obs"] | self.actor.actions.inputs(batch["action"]))
        q = self.actor.actions.taken(values, batch["action"])
        error = q - target
        loss = 0.5 * weighted_mean(error.square().sum(0), batch["weight"])
        return loss, {"loss/critic": loss, "value/q": q.mean(), "error": error.abs().mean(0)}

    def actor_loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Metrics]:
        """Eq. 7 and 9: the soft value with its sign changed, E[α log π(a|s) − Q(s, a)]."""
        value, entropy = self.actor.value(self.model, batch["obs"], noise[0])
        loss = -weighted_mean(value, batch["weight"])
        return loss, {"loss/actor": loss, "policy/entropy": weighted_average(entropy, batch["weight"])}

    def value(self, obs: Obs) -> Tensor:
        """The soft value (N,): exact for discrete actions, of the most likely one before tanh for continuous ones."""
        return self.actor.expected(obs)
