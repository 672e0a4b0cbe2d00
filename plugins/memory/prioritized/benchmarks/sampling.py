"""How long prioritized sampling takes, in multiples of uniform sampling, and what feedback costs.

Run it on an idle machine: ``python plugins/memory/prioritized/benchmarks/sampling.py``. Two memories with a million
transitions of the size of HalfCheetah, priorities of 5000 feedbacks, measured in turns (`slmk.testing.throughput`).
"""

from __future__ import annotations

import torch
from gymnasium import spaces

from slmk import Act, EnvInfo, Step
from slmk.testing import throughput
from slmk_memory_prioritized import PrioritizedConfig
from slmk_memory_prioritized.prioritized import Prioritized
from slmk_memory_replay import ReplayConfig
from slmk_memory_replay.replay import Replay

CAPACITY, NUM_ENVS = 1_000_000, 16
INFO = EnvInfo(NUM_ENVS, {"obs": spaces.Box(-1, 1, (17,))}, spaces.Box(-1, 1, (6,)), torch.device("cpu"))


def main() -> None:
    """Print a table in Markdown."""
    torch.set_num_threads(1)
    uniform = Replay(ReplayConfig(capacity=CAPACITY), INFO, 1, torch.Generator().manual_seed(0))
    prioritized = Prioritized(PrioritizedConfig(capacity=CAPACITY), INFO, 1, torch.Generator().manual_seed(0))
    for memory in (uniform, prioritized):
        fill(memory)
    for _ in range(5000):
        prioritized.feedback(prioritized.sample(256), torch.rand(256))
    print("| batch | prioritized / uniform `sample` | `feedback` / uniform `sample` |\n|---|---|---|")
    for size in (32, 256, 1024):
        batch, error = prioritized.sample(size), torch.rand(size)

        def draw(size: int = size) -> object:
            return uniform.sample(size, gamma=0.99)

        def prefer(size: int = size) -> object:
            return prioritized.sample(size, gamma=0.99)

        ratios = [throughput(draw, prefer, 45), throughput(draw, lambda: prioritized.feedback(batch, error), 45)]  # noqa: B023
        print(f"| {size} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)


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
