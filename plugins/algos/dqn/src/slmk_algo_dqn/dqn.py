"""Deep Q-learning (Mnih et al. 2015): double (van Hasselt et al. 2016), dueling (Wang et al. 2016), n-step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from slmk import Act, Adam, Average, EnvInfo, Learner, Metrics, Model, Objective, Obs, Parts, Role, Sample
from slmk.protocols import Memory
from slmk.toolbox.pacing import Pace
from slmk.toolbox.returns import bootstrapped
from slmk.toolbox.scaling import weighted_mean
from slmk.toolbox.schedules import at
from slmk.toolbox.values import EpsilonGreedy, value_head, value_policy
from slmk_algo_dqn import DQNConfig

__all__ = ["DQN"]


class DQN:
    """Learns the values of actions from a replay memory, off-policy, and acts by them."""

    @staticmethod
    def roles(config: DQNConfig, env: EnvInfo) -> dict[str, Role]:
        """One network, with an output for each action, and one for the state's value if dueling."""
        return {"q": Role(value_head(env.action_space, config.dueling).outputs)}

    def __init__(self, config: DQNConfig, env: EnvInfo, parts: Parts) -> None:
        self.config = config
        self.horizon = config.horizon
        self.generator = parts.generator
        self.model = parts.model
        self.target = parts.model.target("q")
        self.head = value_head(env.action_space, config.dueling)
        self.pace = Pace(config, num_envs=env.num_envs, env_steps=parts.env_steps)
        network = self.model.networks["q"]
        self.learner = Learner(
            {"model": self.model, "target": self.target},
            {"q": Objective(self.loss, [network], Adam(eps=config.adam_eps, max_grad_norm=config.max_grad_norm))},
            averages=[Average(self.target.networks["q"], network, config.tau)],
            compile=parts.compile,
            steps_ahead=self.pace.steps,
        )
        self.since_copy = 0
        """Transitions learned from since the target network was last copied."""

    def act(self, obs: Obs, progress: float) -> Act:
        """Explore by the values; uniformly among the allowed actions while warming up."""
        self.model.observe(obs)
        values = self.values(self.model, obs)
        warms_up = self.pace.warms_up(progress)
        policy = EpsilonGreedy(values, 1.0) if warms_up else value_policy(values, self.config, progress)
        return Act(self.head.to_env(policy.sample(self.generator)))

    def policy(self, obs: Obs) -> Tensor:
        """The best action by value."""
        return self.head.to_env(self.values(self.model, obs).argmax(-1))

    def learn(self, memory: Memory, progress: float) -> Metrics:
        """Algorithm 1: gradient steps on samples, as many as the new transitions earn; the target network follows."""
        config = self.config
        if self.pace.warms_up(progress) or len(memory) < config.batch_size:
            return {}
        for _ in range(self.pace.due(progress)):
            batch = memory.sample(config.batch_size, gamma=config.gamma, n_step=config.n_step, progress=progress)
            error = self.learner.step(batch, lr=at(config.lr, progress))["error"]
            memory.feedback(batch, error)
        self.since_copy += self.pace.transitions
        if 0 < config.target_every <= self.since_copy:
            self.since_copy %= config.target_every
            self.learner.sync()
        return self.learner.metrics()

    def loss(self, batch: Sample) -> tuple[Tensor, Metrics]:
        """The weighted error of the values of the actions taken, against one-step or n-step targets."""
        value = self.head.pick(self.values(self.model, batch.obs), batch.action)
        target = bootstrapped(batch.reward, batch.discount, batch.terminated, self.following(batch.next_obs))
        error = value - target
        clips = self.config.loss == "huber"
        penalty = F.huber_loss(value, target, reduction="none") if clips else 0.5 * error.square()
        # The mean over what counts: a weight of 0 means that a step only warms up a recurrent network, or is padding.
        loss = weighted_mean(penalty, batch.weight)
        return loss, {"loss/q": loss, "value/q": value.mean(), "error": error.abs()}

    @torch.no_grad()
    def following(self, next_obs: Obs) -> Tensor:
        """The value of what follows (*batch,): of the best action by the trained network, by the target network."""
        values = self.values(self.target, next_obs)
        if not self.config.double:
            return values.amax(-1)
        best = self.values(self.model, next_obs).argmax(-1, keepdim=True)
        return values.gather(-1, best).squeeze(-1)

    @torch.no_grad()
    def value(self, obs: Obs) -> Tensor:
        """max Q(obs, ·), (*batch,)."""
        return self.values(self.model, obs).amax(-1)

    def values(self, model: Model, obs: Obs) -> Tensor:
        """Q(obs, ·) by the trained or by the target network, (*batch, n)."""
        return self.head(model("q", obs), obs)
