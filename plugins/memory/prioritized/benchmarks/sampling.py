"""How long prioritized sampling takes, in multiples of uniform sampling, and what feedback costs.

Run it on an idle machine: ``python plugins/memory/prioritized/benchmarks/sampling.py``. Two memories with a million
transitions of the size of HalfCheetah, priorities of 1000 feedbacks. Each is called alone, in turns.
"""

from __future__ import annotations

from functools import partial
from statistics import quantiles
from time import perf_counter
from typing import TYPE_CHECKING

import torch
from gymnasium import spaces

from slmk import Act, EnvInfo, Step
from slmk_memory_prioritized import PrioritizedConfig
from slmk_memory_prioritized.prioritized import Prioritized
from slmk_memory_replay import Replay, ReplayConfig

if TYPE_CHECKING:
    from collections.abc import Callable

CAPACITY, NUM_ENVS = 1_000_000, 16
INFO = EnvInfo(NUM_ENVS, {"obs": spaces.Box(-1, 1, (17,))}, spaces.Box(-1, 1, (6,)), torch.device("cpu"))


def main() -> None:
    """Print a table in Markdown."""
    torch.set_num_threads(1)
    uniform = Replay(ReplayConfig(capacity=CAPACITY), INFO, 1, torch.Generator().manual_seed(0))
    prioritized = Prioritized(PrioritizedConfig(capacity=CAPACITY), INFO, 1, torch.Generator().manual_seed(0))
    for memory in (uniform, prioritized):
        fill(memory)
    for _ in range(1000):
        prioritized.feedback(prioritized.sample(256), torch.rand(256))
    print("| batch | uniform `sample`, µs | prioritized | ratio | `feedback` | ratio |\n|---|---|---|---|---|---|")
    for size in (32, 256, 1024):
        batch, error = prioritized.sample(size), torch.rand(size)
        draw, prefer, tell = in_turns(
            partial(uniform.sample, size, gamma=0.99),
            partial(prioritized.sample, size, gamma=0.99),
            partial(prioritized.feedback, batch, error),
        )
        print(
            f"| {size} | {draw:.0f} | {prefer:.0f} | {prefer / draw:.2f} | {tell:.0f} | {tell / draw:.2f} |", flush=True
        )


def in_turns(*functions: Callable[[], object], rounds: int = 2000) -> list[float]:
    """Microseconds of each call, of one of each in turn: the tenth part from below, which neighbours hardly touch."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, spent in zip(functions, times, strict=True):
            start = perf_counter()
            function()
            spent.append((perf_counter() - start) * 1e6)
    return [quantiles(spent, n=10)[0] for spent in times]


def fill(memory: Replay | Prioritized) -> None:
    """Add a million transitions and a few more, so that the oldest are gone."""
    obs, act = {"obs": torch.randn(NUM_ENVS, 17)}, Act(torch.randn(NUM_ENVS, 6))
    no, yes = torch.zeros(NUM_ENVS, dtype=torch.bool), torch.ones(NUM_ENVS, dtype=torch.bool)
    for count in range(CAPACITY // NUM_ENVS + 100):
        after, ended = {"obs": torch.empty(NUM_ENVS, 17)}, count % 1000 == 999
        final = {"obs": torch.empty(NUM_ENVS, 17)} if ended else after
        memory.add(obs, act, Step(after, final, torch.zeros(NUM_ENVS), no, yes if ended else no))
        obs = after


if __name__ == "__main__":
    main()
