"""Microseconds per vector step of the backend beside EnvPool's own ``step``, measured in turns.

Run it on an idle machine: ``python plugins/envs/envpool/benchmarks/overhead.py``. Random actions; the smallest of nine
blocks counts. EnvPool's own ``step`` spends steps on restarting, which the backend does besides.
"""

from __future__ import annotations

from itertools import cycle
from time import perf_counter
from typing import TYPE_CHECKING

import torch

from slmk.testing.env_steps import random_actions
from slmk_env_envpool import EnvPoolConfig
from slmk_env_envpool.backend import EnvPoolEnv
from slmk_env_envpool.make import make

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = [("CartPole-v1", 64), ("CheetahRun-v1", 64), ("HalfCheetah-v5", 16)]


def main() -> None:
    """Print a table in Markdown."""
    torch.set_num_threads(1)
    print("| env | N | threads | EnvPool step | slmk | env steps/s |\n|---|---|---|---|---|---|")
    for name, num_envs in CASES:
        for threads in (1, 2):
            own, backend = _measure(EnvPoolConfig(id=name, num_envs=num_envs, num_threads=threads))
            rate = num_envs / backend / 1e3
            print(
                f"| {name} | {num_envs} | {threads} | {own * 1e6:.0f} | {backend * 1e6:.0f} | {rate:.0f} k |",
                flush=True,
            )


def _measure(config: EnvPoolConfig) -> list[float]:
    env = EnvPoolEnv(config, device=torch.device("cpu"), seed=0)
    pool = make(config, 0)
    env.reset()
    pool.reset()
    stream = random_actions(env.info)
    tensors = [next(stream) for _ in range(20)]
    arrays = cycle([tensor.numpy() for tensor in tensors])
    actions = cycle(tensors)
    return _in_turns([lambda: pool.step(next(arrays)), lambda: env.step(next(actions))])


def _in_turns(functions: list[Callable[[], object]], block_s: float = 0.1, turns: int = 9) -> list[float]:
    """The smallest mean time of a call of each, over blocks of equal length taken in turns."""
    best = [float("inf")] * len(functions)
    for _ in range(turns):
        for index, function in enumerate(functions):
            start, calls = perf_counter(), 0
            while (elapsed := perf_counter() - start) < block_s:
                function()
                calls += 1
            best[index] = min(best[index], elapsed / calls)
    return best


if __name__ == "__main__":
    main()
