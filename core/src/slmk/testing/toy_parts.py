"""The simplest parts that keep the contract: a rollout, a replay, an algorithm that does nothing, and two networks.

Contract checks put them beside the component under test, so that a fault is that component's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from slmk.batch import CARRY, Act, Obs, Sample, Step, Transition
from slmk.component import Component
from slmk.config import AlgorithmConfig, MemoryConfig, PositiveInt
from slmk.env_info import EnvInfo
from slmk.hookspecs import hookimpl
from slmk.protocols import Memory, Metrics, Parts
from slmk.state import moved
from slmk.testing.toy_networks import ElmanConfig, TwoLayersConfig

__all__ = ["Idle", "Recent", "Rollout"]


class RolloutConfig(MemoryConfig):
    """Options of ``toy-take``: it has none."""

    offers: ClassVar = "take"


class Rollout:
    """A list of vector steps."""

    def __init__(self, config: MemoryConfig, env: EnvInfo, horizon: int, generator: torch.Generator) -> None:
        self.steps: list[Transition] = []
        self.device = env.device

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
        self.steps = [Transition(**moved(step, self.device)) for step in state["steps"]]


class RecentConfig(MemoryConfig):
    """Options of ``toy-sample``."""

    offers: ClassVar = "sample"

    capacity: PositiveInt = 100_000
    """Transitions kept, of all environments together."""
    sequence: PositiveInt = 1
    """Steps of each sample (L)."""


class Recent:
    """The most recent vector steps, from which transitions or sequences are drawn uniformly."""

    def __init__(self, config: RecentConfig, env: EnvInfo, horizon: int, generator: torch.Generator) -> None:
        self.num_envs, self.generator, self.sequence = env.num_envs, generator, config.sequence
        self.steps: deque[Transition] = deque(maxlen=config.capacity // env.num_envs)

    def add(self, obs: Obs, act: Act, step: Step) -> None:
        """Append one vector step; the oldest gives way."""
        self.steps.append(_transition(obs, act, step))

    def __len__(self) -> int:
        """Transitions held."""
        return len(self.steps) * self.num_envs

    def sample(self, batch_size: int, *, gamma: float = 1.0, n_step: int = 1, progress: float = 0.0) -> Sample:
        """Draw with replacement, (B, …), or (L, B, …); one step each.

        Raises:
            ValueError: `n_step` is not 1.
        """
        if n_step != 1:
            raise ValueError("toy-sample gives transitions of one step only")
        device = self.generator.device
        start = torch.randint(len(self.steps), (batch_size,), generator=self.generator, device=device).tolist()
        env = torch.randint(self.num_envs, (batch_size,), generator=self.generator, device=device)
        drawn = [self._at([row + k for row in start], env) for k in range(self.sequence)]
        batch = _sequence(drawn) if self.sequence > 1 else drawn[0]
        is_held = torch.tensor([[row + k < len(self.steps) for row in start] for k in range(self.sequence)])
        weight = _weight(is_held.to(device), drawn).view_as(batch.reward)
        discount = torch.full_like(batch.reward, gamma)
        return Sample(
            **_as_tree(batch), discount=discount, weight=weight, index=torch.arange(batch_size, device=device)
        )

    def _at(self, rows: list[int], env: Tensor) -> Transition:
        """One transition (B, …) from each of some vector steps; the newest stands for later ones."""
        each = torch.arange(len(rows), device=env.device)
        return _stack([self.steps[min(row, len(self.steps) - 1)] for row in rows]).map(lambda x: x[each, env])

    def feedback(self, batch: Sample, error: Tensor) -> None:
        """Nothing: every transition is as likely as another."""

    def state_dict(self) -> dict[str, Any]:
        """The steps and the random stream."""
        return {"steps": [_as_tree(step) for step in self.steps], "random": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore both."""
        steps = moved(state["steps"], self.generator.device)
        self.steps = deque((Transition(**step) for step in steps), self.steps.maxlen)
        self.generator.set_state(state["random"].cpu())


def _sequence(steps: list[Transition]) -> Transition:
    """Steps (B, …) as one sequence (L, B, …), with the carries of the first of them."""
    whole = _stack(steps)
    for obs in (whole.obs, whole.next_obs):
        obs.update({name: x[0] for name, x in obs.items() if name.startswith(CARRY)})
    return whole


def _weight(is_held: Tensor, steps: list[Transition]) -> Tensor:
    """1 for each of L steps (L, B) that is held and no episode ends before, else 0."""
    goes_on = [torch.ones_like(is_held[0]), *(~(step.terminated | step.truncated) for step in steps[:-1])]
    return (torch.stack(goes_on).cumprod(0) * is_held).float()


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

    learner = None

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
    """One that forgets and one that remembers."""
    home = "slmk.testing.toy_networks"
    return [
        Component("toy-mlp", TwoLayersConfig, f"{home}:TwoLayers", "one hidden layer"),
        Component("toy-recurrent", ElmanConfig, f"{home}:Elman", "one layer that remembers"),
    ]


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
