"""What known-answer tests of on-policy algorithms are made of: small parts, rollouts, and references in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from unittest import mock

import torch
from gymnasium import spaces
from torch import Tensor

from slmk.batch import Act, Transition
from slmk.config import AlgorithmConfig, Compile
from slmk.env_info import EnvInfo
from slmk.model import Model
from slmk.protocols import Parts
from slmk.session import Session
from slmk.testing.algorithm_runs import build_run
from slmk.testing.subject import Subject
from slmk.testing.toy_networks import TwoLayers, TwoLayersConfig
from slmk.windows import Windows

__all__ = [
    "ENVS",
    "Once",
    "Reference",
    "assemble",
    "check_one_graph",
    "collect",
    "move_away",
    "parameters",
    "random_rollout",
    "recurrent_run",
]

ENVS = 3
"""Environments of what `assemble` makes (N)."""
WIDTH = 4
"""Numbers in an observation, the group ``obs``."""
distributions: Any = torch.distributions
"""`torch.distributions` as Any, since torch gives no types for it."""


class OnPolicy(Protocol):
    """What is used of an algorithm: the attributes that those of the toolbox's actors and learners have."""

    horizon: int
    model: Model
    actor: Any
    learner: Any

    def act(self, obs: Mapping[str, Tensor], progress: float) -> Act:
        """See `slmk.protocols.Algorithm`."""
        ...


def assemble(
    algorithm: type[Any],
    config: AlgorithmConfig,
    action_space: spaces.Space[Any],
    *,
    max_episode_steps: int | None = None,
    normalizers: Mapping[str, Any] | None = None,
    compile: Compile = "off",
) -> Any:
    """The algorithm with a hidden layer of 8 units in each role, the same ones each time."""
    observed = {"obs": spaces.Box(-1, 1, (WIDTH,))}
    info = EnvInfo(ENVS, observed, action_space, torch.device("cpu"), max_episode_steps)
    generator = torch.Generator().manual_seed(0)
    roles = algorithm.roles(config, info)
    networks = {role: TwoLayers(TwoLayersConfig(width=8), observed, given, generator) for role, given in roles.items()}
    model = Model(networks, dict.fromkeys(roles, ("obs",)), {})
    return algorithm(config, info, Parts(model, dict(normalizers or {}), generator, compile, 0, 0))


@torch.no_grad()
def random_rollout(algorithm: OnPolicy, seed: int = 1) -> Transition:
    """Random observations, rewards and ends, (T, N), with the policy's own actions; T is the horizon.

    What an observation was followed by is not the next one, so that it shows which of the two is used.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = algorithm.horizon, ENVS
    obs = torch.randn(shape[0] + 1, ENVS, WIDTH, generator=generator)
    acts = [algorithm.act({"obs": x}, 0.0) for x in obs[:-1]]
    flags = torch.rand(shape, generator=generator)
    return Transition(
        obs={"obs": obs[:-1]},
        action=torch.stack([act.action for act in acts]),
        reward=torch.randn(shape, generator=generator),
        next_obs={"obs": obs[1:] + 0.1},
        terminated=flags < 0.2,
        truncated=flags > 0.8,
        extras={"raw": torch.stack([act.extras["raw"] for act in acts])},
    )


class Once:
    """A memory that hands out one and the same rollout."""

    def __init__(self, experience: Transition) -> None:
        """Keep the rollout."""
        self.experience = experience

    def take(self) -> Transition:
        """The rollout."""
        return self.experience


def parameters(algorithm: OnPolicy) -> dict[str, Tensor]:
    """Of the networks, and of the head on the actor's, by name."""
    named = {f"model.{name}": x for name, x in algorithm.model.named_parameters()}
    return named | {f"head.{name}": x for name, x in algorithm.actor.head.named_parameters()}


@torch.no_grad()
def move_away(algorithm: OnPolicy) -> None:
    """Change the networks at random, so that ratios of probabilities differ from 1."""
    for parameter in algorithm.model.parameters():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))


class Reference:
    """The networks and the policy of what `assemble` made, in float64 and with densities of `torch.distributions`."""

    def __init__(self, algorithm: OnPolicy) -> None:
        """Copy the parameters as they are now."""
        self.state = {name: x.detach().double().requires_grad_() for name, x in parameters(algorithm).items()}
        """The copies by name; once `check` has run, with gradients."""

    def network(self, role: str, obs: Tensor) -> Tensor:
        """The outputs (*batch, outputs) of a role's network for observations (*batch, 4)."""
        names = (f"model.networks.{role}.{name}" for name in ("weight", "bias", "weight_out", "bias_out"))
        weight, bias, weight_out, bias_out = (self.state[name] for name in names)
        return torch.tanh(obs.double() @ weight + bias) @ weight_out + bias_out

    def value(self, obs: Tensor) -> Tensor:
        """The critic's values (*batch,)."""
        return self.network("critic", obs).squeeze(-1)

    def policy(self, obs: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of actions before squashing, and entropies, each (*batch,)."""
        features = self.network("actor", obs)
        if "head.log_std" in self.state:
            normal = distributions.Normal(features, self.state["head.log_std"].exp())
            return normal.log_prob(raw.double()).sum(-1), normal.entropy().sum(-1)
        categorical = distributions.Categorical(logits=features)
        return categorical.log_prob(raw), categorical.entropy()

    def check(self, algorithm: OnPolicy, loss: Tensor, expected: Tensor) -> None:
        """Compare the loss with the one expected of these copies, and the gradients of every parameter.

        Raises:
            AssertionError: they differ.
        """
        torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0.0)
        torch.autograd.backward(expected)
        gradients = torch.autograd.grad(loss, list(parameters(algorithm).values()))
        found = {name: gradient.double() for name, gradient in zip(self.state, gradients, strict=True)}
        torch.testing.assert_close(found, {name: x.grad for name, x in self.state.items()}, rtol=1e-4, atol=1e-6)


def recurrent_run(name: str, length: int, roles: tuple[str, ...] = ("actor", "critic"), **options: Any) -> Session:
    """A run of an algorithm whose networks remember, on episodes of 4 steps, learning from windows of `length` steps.

    Args:
        name: the algorithm's in a spec.
        length: divides the horizon.
        roles: those whose networks remember.
        options: of the algorithm.
    """
    networks = {role: {"name": "toy-recurrent", "width": 8, "window": 8} for role in roles}
    subject = Subject.find("algo", name, options=options, sections={"network": networks})
    run = build_run(subject, {"name": "toy-probe", "num_envs": 4})
    algorithm: Any = run.algorithm
    algorithm.model.windows = Windows(length)
    return run


@torch.no_grad()
def collect(run: Session) -> Transition:
    """One rollout, as the loop collects it."""
    assert run.memory is not None
    for _ in range(run.algorithm.horizon):
        act = run.algorithm.act(run.obs, 0.0)
        step = run.recurrence.follow(run.obs, run.env.step(act.action))
        run.memory.add(run.obs, act, step)
        run.obs = step.obs
    return run.memory.take()


def check_one_graph(make: Callable[[Compile], Any], memory: Callable[[Any], Any] | None = None) -> None:
    """Trace the update as a whole, without breaks: two of them change the parameters as eager ones do.

    Args:
        make: gives the algorithm, by what ``compile`` is to be.
        memory: gives what it learns from; one random rollout by default.

    Raises:
        AssertionError: the parameters differ.
        torch._dynamo.exc.Unsupported: it is more than one graph.
    """

    def traced(step: Any, device: torch.device) -> Any:
        return torch.compile(step, fullgraph=True, dynamic=False, backend="aot_eager", isolate_recompiles=True)  # type: ignore[call-overload]

    choices: tuple[Compile, ...] = ("off", "on")
    results = {}
    for how in choices:
        with mock.patch("slmk.update_step.compiled", traced), torch._dynamo.config.patch(trace_autograd_ops=True):
            algorithm = make(how)
            experience = memory(algorithm) if memory else Once(random_rollout(algorithm))
            for _ in range(2):
                algorithm.learn(experience, 0.0)
        results[how] = algorithm.learner
    assert [learner.choice for learner in results.values()] == ["eager", "compiled"]
    torch.testing.assert_close(results["on"].flat, results["off"].flat, rtol=1e-5, atol=1e-6)
