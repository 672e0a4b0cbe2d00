"""What the backend adds to Playground's bare step.

Run it on an idle machine: ``python plugins/envs/playground/benchmarks/overhead.py CheetahRun 64 1024``. The bare step
is ``jax.jit(jax.vmap(env.step))``, which never restarts; both take random actions, in turns of ten steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter

import jax
import torch

from slmk.testing.timing import throughput
from slmk_env_playground import PlaygroundConfig

TURN = 10
"""Steps of each measurement."""


def main(name: str, sizes: list[int]) -> None:
    """Print one row for each number of environments."""
    print("| env | N | slmk, env steps/s | times the bare step |\n|---|---|---|---|")
    for num_envs in sizes:
        ours, bare = steppers(name, num_envs)
        ratio, seconds = throughput(ours, bare, 15), min(timed(ours) for _ in range(5))
        print(f"| {name} | {num_envs} | {TURN * num_envs / seconds:,.0f} | {ratio:.2f} |", flush=True)


def steppers(name: str, num_envs: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Functions that take a turn of steps: of the backend, and of Playground's environment under `jit` and `vmap`."""
    config = PlaygroundConfig(id=name, num_envs=num_envs)
    config.prepare()
    from slmk_env_playground.backend import PlaygroundEnv

    env = PlaygroundEnv(config, device=torch.device("cpu"), seed=0)
    env.reset()
    generator = torch.Generator().manual_seed(0)
    shape = (num_envs, *env.info.action_space.shape)
    actions = [torch.rand(shape, generator=generator) * 2 - 1 for _ in range(TURN)]
    inner = env._simulation.env
    bare_step = jax.jit(jax.vmap(inner.step))
    bare = {"state": jax.jit(jax.vmap(inner.reset))(jax.random.split(jax.random.PRNGKey(0), num_envs))}

    def ours() -> None:
        for action in actions:
            env.step(action).reward.sum().item()

    def theirs() -> None:
        for action in actions:
            bare["state"] = bare_step(bare["state"], jax.dlpack.from_dlpack(action))
            bare["state"].reward.sum().item()

    ours(), theirs()
    return ours, theirs


def timed(function: Callable[[], None]) -> float:
    """Seconds of one call."""
    start = perf_counter()
    function()
    return perf_counter() - start


if __name__ == "__main__":
    main(sys.argv[1], [int(size) for size in sys.argv[2:]] or [64, 1024])
