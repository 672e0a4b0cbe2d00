"""The simplest parts that keep the contract: a network, a rollout, a replay and an algorithm that does nothing.

Contract checks put them beside the component under test, so that a fault is that component's own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from torch import Tensor, nn

from slmk.batch import Act, Obs, Sample, Step, Transition
from slmk.component import Component
from slmk.config import AlgorithmConfig, MemoryConfig, NetworkConfig, PositiveInt
from slmk.env_info import EnvInfo
from slmk.errors import Problem, SpecError
from slmk.hookspecs import hookimpl
from slmk.protocols import Memory, Metrics, Parts, Role

__all__ = ["Idle", "Recent", "Rollout", "TwoLayers"]


class TwoLayersConfig(NetworkConfig):
    """Options of ``toy-mlp``."""

    width: PositiveInt = 32
    """Units of the hidden layer."""


class TwoLayers(nn.Module):
    """A hidden layer of tanh units, with orthogonal weights, on groups of floats or bits joined in order."""

    def __init__(
        self,
        config: TwoLayersConfig,
        inputs: Mapping[str, spaces.Space[Any]],
        role: Role,
        generator: torch.Generator,
    ) -> None:
        """See `slmk.hookspecs.slmk_networks`.

        Raises:
            SpecError: a group is neither a Box nor MultiBinary.
        """
        super().__init__()
        self._dims = {name: len(_shape(name, space)) for name, space in inputs.items()}
        width = sum(math.prod(_shape(name, space)) for name, space in inputs.items())
        self.weight = _orthogonal(config.width, width, math.sqrt(2), generator)
        self.bias = nn.Parameter(torch.zeros(config.width))
        self.weight_out = _orthogonal(role.outputs, config.width, role.gain, generator)
        self.bias_out = nn.Parameter(torch.zeros(role.outputs))

    def forward(self, obs: Obs) -> Tensor:
        """Groups, each (*batch, *shape), to (*batch, outputs)."""
        flat = [_flat(obs[name], dims) for name, dims in self._dims.items()]
        hidden = torch.tanh(nn.functional.linear(torch.cat(flat, -1), self.weight, self.bias))
        return nn.functional.linear(hidden, self.weight_out, self.bias_out)


def _shape(name: str, space: spaces.Space[Any]) -> tuple[int, ...]:
    if not isinstance(space, spaces.Box | spaces.MultiBinary):
        raise SpecError([Problem(f"toy-mlp cannot read the group {name!r}", expected="a Box", found=str(space))])
    return tuple(space.shape)


def _flat(x: Tensor, dims: int) -> Tensor:
    """(*batch, width) floats; bytes become numbers up to 1, which do not saturate the units."""
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    return x.flatten(-dims) if dims else x.unsqueeze(-1)


def _orthogonal(outputs: int, inputs: int, gain: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(nn.init.orthogonal_(torch.empty(outputs, inputs), gain, generator=generator))


class RolloutConfig(MemoryConfig):
    """Options of ``toy-take``: it has none."""

    offers: ClassVar = "take"


class Rollout:
    """A list of vector steps."""

    def __init__(self, config: MemoryConfig, env: EnvInfo, horizon: int, generator: torch.Generator) -> None:
        self.steps: list[Transition] = []

    def add(self, obs: Obs, act: Act, step: Step) -> None:
        """Append one vector step."""
        self.steps.append(_transition(obs, act, step))

    def __len__(self) -> int:
        """Vector steps held."""
        return len(self.steps)

    def take(self) -> Transition:
        """All steps, stacked."""
        steps, self.steps = self.steps, []
        return _stack(steps)

    def state_dict(self) -> dict[str, Any]:
        """The steps."""
        return {"steps": [_as_tree(step) for step in self.steps]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the steps."""
        self.steps = [Transition(**step) for step in state["steps"]]


class RecentConfig(MemoryConfig):
    """Options of ``toy-sample``."""

    offers: ClassVar = "sample"

    capacity: PositiveInt = 100_000
    """Transitions kept, of all environments together."""


class Recent:
    """The most recent vector steps, from which transitions are drawn uniformly."""

    def __init__(self, config: RecentConfig, env: EnvInfo, horizon: int, generator: torch.Generator) -> None:
        self.num_envs, self.generator = env.num_envs, generator
        self.steps: deque[Transition] = deque(maxlen=config.capacity // env.num_envs)

    def add(self, obs: Obs, act: Act, step: Step) -> None:
        """Append one vector step; the oldest gives way."""
        self.steps.append(_transition(obs, act, step))

    def __len__(self) -> int:
        """Transitions held."""
        return len(self.steps) * self.num_envs

    def sample(self, batch_size: int, *, gamma: float = 1.0, n_step: int = 1, progress: float = 0.0) -> Sample:
        """Draw with replacement, (B, …); one step each.

        Raises:
            ValueError: `n_step` is not 1.
        """
        if n_step != 1:
            raise ValueError("toy-sample gives transitions of one step only")
        device = self.generator.device
        rows = torch.randint(len(self.steps), (batch_size,), generator=self.generator, device=device).tolist()
        env = torch.randint(self.num_envs, (batch_size,), generator=self.generator, device=device)
        each = torch.arange(batch_size, device=device)
        drawn = _stack([self.steps[row] for row in rows]).map(lambda x: x[each, env])
        fields = {name: getattr(drawn, name) for name in Transition.__slots__}
        ones = torch.ones(batch_size, device=device)
        return Sample(**fields, discount=gamma * ones, weight=ones, index=each)

    def feedback(self, batch: Sample, error: Tensor) -> None:
        """Nothing: every transition is as likely as another."""

    def state_dict(self) -> dict[str, Any]:
        """The steps and the random stream."""
        return {"steps": [_as_tree(step) for step in self.steps], "random": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore both."""
        self.steps = deque((Transition(**step) for step in state["steps"]), self.steps.maxlen)
        self.generator.set_state(state["random"].cpu())


def _transition(obs: Obs, act: Act, step: Step) -> Transition:
    """One vector step (N, …)."""
    done = step.terminated | step.truncated
    following = {name: torch.where(_like(done, x), step.final_obs[name], x) for name, x in step.obs.items()}
    return Transition(dict(obs), act.action, step.reward, following, step.terminated, step.truncated, dict(act.extras))


def _like(done: Tensor, x: Tensor) -> Tensor:
    return done.reshape(-1, *(1,) * (x.dim() - 1))


def _as_tree(step: Transition) -> dict[str, Any]:
    return {name: getattr(step, name) for name in Transition.__slots__}


def _stack(steps: list[Transition]) -> Transition:
    """Vector steps on a new leading axis."""
    columns = zip(*(_tensors(step) for step in steps), strict=True)
    stacked: Iterator[Tensor] = (torch.stack(column) for column in columns)
    return steps[0].map(lambda _: next(stacked))


def _tensors(step: Transition) -> list[Tensor]:
    """Every tensor, in the order in which `Transition.map` visits them."""
    found: list[Tensor] = []
    step.map(lambda x: found.append(x) or x)  # type: ignore[func-returns-value]
    return found


class IdleConfig(AlgorithmConfig):
    """Options of ``toy-idle``."""

    memory: ClassVar = "none"

    horizon: PositiveInt = 16
    """Vector steps per iteration."""


class Idle:
    """Always acts with zeros and learns nothing, for checks of parts that only need to be run by something."""

    def __init__(self, config: IdleConfig, env: EnvInfo, parts: Parts) -> None:
        self.horizon = config.horizon
        dtype = torch.float32 if isinstance(env.action_space, spaces.Box) else torch.int64
        self.action = torch.zeros(env.num_envs, *(env.action_space.shape or ()), dtype=dtype, device=env.device)

    def act(self, obs: Obs, progress: float) -> Act:
        """Zeros."""
        return Act(self.policy(obs))

    def policy(self, obs: Obs) -> Tensor:
        """Zeros, for any number of environments."""
        return self.action[:1].expand(len(next(iter(obs.values()))), *self.action.shape[1:])

    def learn(self, memory: Memory | None, progress: float) -> Metrics:
        """Nothing but the number that tests look for."""
        return {"idle/zero": torch.zeros((), device=self.action.device)}


@hookimpl
def slmk_networks() -> list[Component]:
    """The network."""
    return [Component("toy-mlp", TwoLayersConfig, f"{__name__}:TwoLayers", "one hidden layer")]


@hookimpl
def slmk_memories() -> list[Component]:
    """The rollout and the replay."""
    return [
        Component("toy-take", RolloutConfig, f"{__name__}:Rollout", "all experience, used once"),
        Component("toy-sample", RecentConfig, f"{__name__}:Recent", "recent experience, drawn uniformly"),
    ]


@hookimpl
def slmk_algorithms() -> list[Component]:
    """The algorithm that does nothing."""
    return [Component("toy-idle", IdleConfig, f"{__name__}:Idle", "zeros")]
