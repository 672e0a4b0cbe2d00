"""What the backend adds to a step of mjlab.

Run it on an idle machine, with the Python of ``.venv-mjlab``: ``overhead.py Mjlab-Cartpole-Balance 64 1024``. The bare
step is that of mjlab's environment with its own restart; both take the same random actions, in turns of five.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from time import perf_counter

import torch

from slmk.testing.timing import throughput
from slmk_env_mjlab import MjlabConfig

TURN = 5
"""Steps of each measurement."""


def main(name: str, sizes: list[int]) -> None:
    """Print one row for each number of environments."""
    print("| task | N | slmk, env steps/s | times mjlab's own step |\n|---|---|---|---|")
    for num_envs in sizes:
        ours, bare = steppers(name, num_envs)
        ratio, seconds = throughput(ours, bare, 10), min(timed(ours) for _ in range(5))
        print(f"| {name} | {num_envs} | {TURN * num_envs / seconds:,.0f} | {ratio:.2f} |", flush=True)


def steppers(name: str, num_envs: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Functions that take a turn of steps: of the backend, and of mjlab's environment."""
    config = MjlabConfig(id=name, num_envs=num_envs)
    config.prepare()
    from mjlab.envs import ManagerBasedRlEnv
    from mjlab.tasks.registry import load_env_cfg

    from slmk_env_mjlab.backend import MjlabEnv

    env = MjlabEnv(config, device=torch.device("cpu"), seed=0)
    cfg = load_env_cfg(name)
    cfg.scene.num_envs = num_envs
    with redirect_stdout(StringIO()):
        bare = ManagerBasedRlEnv(cfg, device="cpu")
    env.reset(), bare.reset()
    generator = torch.Generator().manual_seed(0)
    actions = [torch.randn(num_envs, *env.info.action_space.shape, generator=generator) for _ in range(TURN)]

    def ours() -> None:
        for action in actions:
            env.step(action)

    def theirs() -> None:
        for action in actions:
            bare.step(action)

    ours(), theirs()
    return ours, theirs


def timed(function: Callable[[], None]) -> float:
    """Seconds of one call."""
    start = perf_counter()
    function()
    return perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1], [int(size) for size in sys.argv[2:]] or [64, 1024])
