"""Microseconds per vector step of the backend beside Gymnasium's own vectorised environments, measured in turns.

Run it on an idle machine: ``python plugins/envs/gymnasium/benchmarks/overhead.py``. The same random actions in every
step; the smallest of nine blocks counts.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode

from slmk_env_gymnasium import GymnasiumConfig
from slmk_env_gymnasium.backend import GymnasiumEnv

if TYPE_CHECKING:
    from collections.abc import Callable
from functools import partial

CASES = [("CartPole-v1", 4), ("CartPole-v1", 64), ("LunarLander-v3", 8), ("HalfCheetah-v5", 16)]


def main() -> None:
    """Print a table in Markdown."""
    torch.set_num_threads(1)
    print("| env | N | Gymnasium sync | Gymnasium native | slmk sync | slmk native | of which tensors |")
    print("|---|---|---|---|---|---|---|")
    for name, num_envs in CASES:
        print(f"| {name} | {num_envs} | " + " | ".join(_measure(name, num_envs)) + " |", flush=True)


def _measure(name: str, num_envs: int) -> list[str]:
    peers = [gym.make_vec(name, num_envs, "sync", {"autoreset_mode": AutoresetMode.SAME_STEP})]
    ours = [_backend(GymnasiumConfig(id=name, num_envs=num_envs, vectorization="sync"))]
    native = gym.spec(name).vector_entry_point is not None
    if native:
        peers.append(gym.make_vec(name, num_envs, "vector_entry_point"))
        ours.append(_backend(GymnasiumConfig(id=name, num_envs=num_envs, vectorization="native")))
    for env in peers:
        env.reset(seed=0)
    actions = peers[0].action_space.sample()
    tensor = torch.from_numpy(actions)
    functions: list[Callable[[], Any]] = [partial(env.step, actions) for env in peers] + [
        partial(env.step, tensor) for env in ours
    ]
    times = _in_turns([*functions, partial(ours[-1]._simulation.step, actions)])
    cells = [f"{seconds * 1e6:.0f}" for seconds in (*times[:-1], times[-2] - times[-1])]
    return cells if native else [cells[0], "–", cells[1], "–", cells[2]]


def _backend(config: GymnasiumConfig) -> GymnasiumEnv:
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
