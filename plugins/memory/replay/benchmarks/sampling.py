"""Microseconds of ``add`` and ``sample`` beside the bare reads and writes that they cannot do without.

Run it on an idle machine: ``python plugins/memory/replay/benchmarks/sampling.py``. A million transitions of the size of
HalfCheetah (17 observations, 6 actions), episodes of 1000 steps, samples of 256. Each is called alone, in turns; the
smallest of many times counts, and the median besides, which tells what neighbours cost.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

import torch
from gymnasium import spaces

from slmk import Act, EnvInfo, Step
from slmk_memory_replay import Replay, ReplayConfig

if TYPE_CHECKING:
    from collections.abc import Callable

CAPACITY, NUM_ENVS, BATCH = 1_000_000, 16, 256


def main() -> None:
    """Print a table in Markdown."""
    torch.set_num_threads(1)
    memory = Replay(ReplayConfig(capacity=CAPACITY), INFO, 1, torch.Generator().manual_seed(0))
    feed = Feed(memory)
    while len(memory) < CAPACITY:
        feed.add()
    times = in_turns(
        {
            "bare writes": bare_writes(),
            f"`add` of {NUM_ENVS}": feed.add,
            "bare reads": bare_reads(),
            "`sample`": lambda: memory.sample(BATCH, gamma=0.99),
            "`sample`, n_step = 3": lambda: memory.sample(BATCH, gamma=0.99, n_step=3),
        }
    )
    print(f"{memory.nbytes / CAPACITY:.1f} bytes a transition\n\n| | best, µs | median, µs |\n|---|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {min(seconds) * 1e6:.0f} | {median(seconds) * 1e6:.0f} |")


INFO = EnvInfo(NUM_ENVS, {"obs": spaces.Box(-1, 1, (17,))}, spaces.Box(-1, 1, (6,)), torch.device("cpu"))


class Feed:
    """Adds steps, one in a thousand of which ends every episode."""

    def __init__(self, memory: Replay) -> None:
        self._memory = memory
        self._obs = {"obs": torch.randn(NUM_ENVS, 17)}
        self._act = Act(torch.randn(NUM_ENVS, 6))
        self._no, self._yes = torch.zeros(NUM_ENVS, dtype=torch.bool), torch.ones(NUM_ENVS, dtype=torch.bool)
        self._reward = torch.zeros(NUM_ENVS)
        self._count = 0

    def add(self) -> None:
        """Add one vector step."""
        self._count += 1
        after, ended = {"obs": torch.empty(NUM_ENVS, 17)}, self._count % 1000 == 0
        final = {"obs": torch.empty(NUM_ENVS, 17)} if ended else after
        step = Step(after, final, self._reward, self._no, self._yes if ended else self._no)
        self._memory.add(self._obs, self._act, step)
        self._obs = after


def bare_reads() -> Callable[[], object]:
    """Two observations, an action, a reward and an end from random rows."""
    rows = CAPACITY + NUM_ENVS
    obs, action, reward = torch.randn(rows, 17), torch.randn(rows, 6), torch.randn(rows)
    end = torch.zeros(rows, dtype=torch.bool)

    def read() -> tuple[torch.Tensor, ...]:
        row = torch.randint(CAPACITY, (BATCH,))
        wanted = ((obs, row), (obs, row + NUM_ENVS), (action, row), (reward, row), (end, row))
        return tuple(x.index_select(0, index) for x, index in wanted)

    return read


def bare_writes() -> Callable[[], object]:
    """An observation, an action, a reward and two ends of every environment."""
    here = [torch.zeros(NUM_ENVS, 17), torch.zeros(NUM_ENVS, 6), torch.zeros(NUM_ENVS)]
    here += [torch.zeros(NUM_ENVS, dtype=torch.bool)] * 2
    there = [torch.zeros(1000, *x.shape, dtype=x.dtype) for x in here]
    return lambda: [target[5].copy_(x) for target, x in zip(there, here, strict=True)]


def in_turns(functions: dict[str, Callable[[], object]], rounds: int = 2000) -> dict[str, list[float]]:
    """Seconds of each call, one of each in turn."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = perf_counter()
            function()
            times[name].append(perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
