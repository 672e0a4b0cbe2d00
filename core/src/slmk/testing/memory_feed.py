"""Experience in which every transition can be told from every other, for checks of memories."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from slmk.batch import Act, Sample, Step, Transition
from slmk.env_info import EnvInfo
from slmk.testing.subject import Subject

__all__ = ["BATCH", "CAPACITY", "HORIZON", "assert_n_step", "assert_true", "build_memory", "draw", "fill", "number_of"]

HORIZON = 5
CAPACITY = 24
"""Transitions that a memory with an option ``capacity`` is made for."""
BATCH = 24
"""Transitions in a sample; a memory need not give more than its capacity."""
GROUPS: dict[str, spaces.Space[Any]] = {
    "number": spaces.Box(-np.inf, np.inf, (1,), np.float32),
    "picture": spaces.Box(0, 255, (2, 3), np.uint8),
    "mask": spaces.MultiBinary(2),
}


def build_memory(subject: Subject, num_envs: int, seed: int = 0) -> Any:
    """The memory under test; small, where it has an option ``capacity``."""
    options = {"capacity": CAPACITY} if "capacity" in subject.component.config.model_fields else {}
    options = {name: value for name, value in options.items() if name not in subject.options}
    info = EnvInfo(num_envs, GROUPS, spaces.Discrete(100_000), torch.device("cpu"))
    return subject.target()(subject.config(**options), info, HORIZON, torch.Generator().manual_seed(seed))


def fill(memory: Any, num_envs: int, steps: int, start: int = 0) -> Any:
    """Add vector steps number `start` and on; returns the memory.

    Step t of environment n is number t·N + n. Its observation, action, reward and extra say so; what follows says
    the number of the next step, or its own plus a half where the episode ended. Steps divisible by 3 end an episode in
    one of the environments, by termination and by truncation in turn.
    """
    obs = _obs(start, num_envs)
    for t in range(start, start + steps):
        number, following = _numbers(t, num_envs), _obs(t + 1, num_envs)
        done = _done(number.long(), num_envs)
        final = following
        if done.any():
            final = {name: torch.where(_like(done, x), _final(number)[name], x) for name, x in following.items()}
        terminated, truncated = done & (t % 2 == 0), done & (t % 2 == 1)
        act = Act(number.long(), {"log_prob": -number, "raw": number.unsqueeze(1).expand(-1, 2).clone()})
        memory.add(obs, act, Step(following, final, number.clone(), terminated, truncated))
        obs = following
    return memory


def draw(memory: Any, count: int) -> Transition:
    """Transitions (count or a few more, …), in samples of `BATCH`."""
    samples: list[Transition] = [memory.sample(BATCH) for _ in range(-(-count // BATCH))]
    columns = zip(*(_tensors(sample) for sample in samples), strict=True)
    joined = iter([torch.cat(column) for column in columns])
    return samples[0].map(lambda _: next(joined))


def assert_true(batch: Transition, num_envs: int) -> None:
    """Raise AssertionError unless every transition of a batch is one that `fill` added, in all its parts."""
    number = number_of(batch)
    t, done = (number // num_envs).long(), _done(number.long(), num_envs)
    following = torch.where(done, number + 0.5, number + num_envs)
    expected = {
        "obs['number']": (batch.obs["number"], number.unsqueeze(-1)),
        "obs['picture']": (batch.obs["picture"], _picture(number)),
        "obs['mask']": (batch.obs["mask"], _bits(number)),
        "action": (batch.action, number.long()),
        "terminated": (batch.terminated, done & (t % 2 == 0)),
        "truncated": (batch.truncated, done & (t % 2 == 1)),
        "extras['log_prob']": (batch.extras["log_prob"], -number),
        "extras['raw']": (batch.extras["raw"], torch.stack([number, number], -1)),
        "next_obs['number']": (batch.next_obs["number"], following.unsqueeze(-1)),
        "next_obs['picture']": (batch.next_obs["picture"], _picture(following)),
        "next_obs['mask']": (batch.next_obs["mask"], _bits(following)),
    }
    for name, (found, right) in expected.items():
        _assert_equal(name, found, right, number, done)


def assert_n_step(sample: Sample, num_envs: int, n_step: int, gamma: float, steps: int) -> None:
    """Raise AssertionError unless a sample sums up `n_step` steps, of `steps` that `fill` added from the first on."""
    number = sample.obs["number"].squeeze(-1)
    spans = [_span(int(first), num_envs, n_step, gamma, steps) for first in number.tolist()]
    last = torch.tensor([span.last for span in spans])
    t, done = last // num_envs, _done(last, num_envs)
    following = torch.where(done, last + 0.5, last + num_envs).unsqueeze(-1)
    expected = {
        "obs['picture']": (sample.obs["picture"], _picture(number)),
        "action": (sample.action, number.long()),
        "extras['log_prob']": (sample.extras["log_prob"], -number),
        "reward": (sample.reward, torch.tensor([span.reward for span in spans])),
        "discount": (sample.discount, torch.tensor([span.discount for span in spans])),
        "next_obs['number']": (sample.next_obs["number"], following),
        "next_obs['picture']": (sample.next_obs["picture"], _picture(following.squeeze(-1))),
        "terminated": (sample.terminated, done & (t % 2 == 0)),
        "truncated": (sample.truncated, done & (t % 2 == 1)),
    }
    for name, (found, right) in expected.items():
        _assert_equal(f"with n_step = {n_step}, {name}", found, right, number, done)


class _Span(NamedTuple):
    """What `n_step` steps from one on come to."""

    reward: float
    last: int
    discount: float


def _span(first: int, num_envs: int, n_step: int, gamma: float, steps: int) -> _Span:
    reward, discount, number = 0.0, 1.0, first
    for number in range(first, min(first + n_step * num_envs, steps * num_envs), num_envs):
        reward += discount * number
        discount *= gamma
        if _done(torch.tensor(number), num_envs):
            break
    return _Span(reward, number, discount)


def number_of(batch: Transition) -> Tensor:
    """Which step each transition is, from its reward; float32 of the batch's shape."""
    return batch.reward


def _assert_equal(name: str, found: Tensor, right: Tensor, number: Tensor, done: Tensor) -> None:
    assert found.dtype == right.dtype, f"{name} is {found.dtype}, but {right.dtype} was added"
    assert found.shape == right.shape, f"{name} has shape {tuple(found.shape)}, expected {tuple(right.shape)}"
    wrong = (found != right).reshape(*number.shape, -1).any(-1)
    if wrong.any():
        where = "at the end of an episode" if done[wrong].all() else f"at transition {number[wrong][0].item():.0f}"
        raise AssertionError(f"{name} is not what was added {where}")


def _done(number: Tensor, num_envs: int) -> Tensor:
    """Whether an episode ended in a step of that number."""
    t, n = number // num_envs, number % num_envs
    return (t % 3 == 0) & (t // 3 % num_envs == n)


def _numbers(t: int, num_envs: int) -> Tensor:
    return torch.arange(t * num_envs, (t + 1) * num_envs, dtype=torch.float32)


def _obs(t: int, num_envs: int) -> dict[str, Tensor]:
    number = _numbers(t, num_envs)
    return {"number": number.unsqueeze(-1), "picture": _picture(number), "mask": _bits(number)}


def _final(number: Tensor) -> dict[str, Tensor]:
    last = number + 0.5
    return {"number": last.unsqueeze(-1), "picture": _picture(last), "mask": _bits(last)}


def _picture(number: Tensor) -> Tensor:
    pixels = (2 * number).long().unsqueeze(-1) + torch.arange(6)
    return (pixels % 256).to(torch.uint8).reshape(*number.shape, 2, 3)


def _bits(number: Tensor) -> Tensor:
    return torch.stack([number.long() % 2 == 0, (2 * number).long() % 2 == 0], -1)


def _like(done: Tensor, x: Tensor) -> Tensor:
    return done.reshape(-1, *(1,) * (x.dim() - 1))


def _tensors(batch: Transition) -> list[Tensor]:
    """Every tensor, in the order in which `Transition.map` visits them."""
    found: list[Tensor] = []
    batch.map(lambda x: found.append(x) or x)  # type: ignore[func-returns-value]
    return found
