"""Microseconds per vector step of the backend beside Gymnasium's own vectorised environments, measured in turns.

Run it on an idle machine: ``python plugins/envs/gymnasium/benchmarks/overhead.py``. Random actions; smallest of nine blocks.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode

from slmk_env_gymnasium import GymnasiumConfig
from slmk_env_gymnasium.backend import GymnasiumEnv

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = [("CartPole-v1", 4), ("CartPole-v1", 64), ("LunarLander-v3", 8), ("HalfCheetah-v5", 16)]


def main() -> None:
    """Print a table in Markdown."""
    torch.set_num_threads(1)
    print("| env | N | Gymnasium sync | Gymnasium native | slmk sync | slmk native | of which tensors |")
    print("|---|---|---|---|---|---|---|")
    for name, num_envs in CASES:
        print(f"| {name} | {num_envs} | " + " | ".join(_measure(name, num_envs)) + " |", flush=True)


def _measure(name: str, num_envs: int) -> list[str]:
    native = gym.spec(name).vector_entry_point is not None
    peer = gym.make_vec(name, num_envs, "sync", {"autoreset_mode": AutoresetMode.SAME_STEP})
    peers = [peer, gym.make_vec(name, num_envs, "vector_entry_point") if native else None]
    ways = ("sync", "native") if native else ("sync",)
    ours = [_backend(name, num_envs, way) for way in ways]
    actions = peer.action_space.sample()
    tensor = torch.from_numpy(actions)
    functions = [lambda env=env: env.step(actions) for env in peers if env]
    functions += [lambda env=env: env.step(tensor) for env in ours]
    functions += [lambda: ours[-1]._simulation.step(actions)]
    for env in filter(None, peers):
        env.reset(seed=0)
    times = [f"{seconds * 1e6:.0f}" for seconds in _in_turns(functions)]
    border = f"{float(times[-2]) - float(times[-1]):.0f}"
    return [*times[:-1], border] if native else [times[0], "–", times[1], "–", border]


def _backend(name: str, num_envs: int, way: str) -> GymnasiumEnv:
    config = GymnasiumConfig(id=name, num_envs=num_envs, vectorization=way)
    env = GymnasiumEnv(config, device=torch.device("cpu"), seed=0)
    env.reset()
    return env


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
