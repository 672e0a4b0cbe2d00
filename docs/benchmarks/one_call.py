"""How much faster several gradient steps are in one compiled call than in a call for each.

    python docs/benchmarks/one_call.py     # on an idle machine, some minutes

Algorithms with many gradient steps for each environment step could draw all their batches first and then take all
steps in one compiled graph, which saves the way into it for all but one. Writes ``one_call.md``.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch._inductor.utils import fresh_cache

import slmk
from slmk.arithmetic import subnormals_flushed
from slmk.compilation import compiled
from slmk.loop import iterate
from slmk.session import Session
from slmk.update_step import Result, State, UpdateStep

STEPS = 4
"""Gradient steps in one call."""
TURNS = 100
CPU = torch.device("cpu")
MLP = {"name": "mlp", "activation": "relu", "init": "pytorch"}
SMALL, LARGE = MLP | {"hidden": [64, 64]}, MLP | {"hidden": [256, 256]}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "DQN, 64 units, batch 32": ("CartPole-v1", {"name": "dqn", "batch_size": 32, "utd_ratio": 1.0}, {"q": SMALL}),
    "SAC, 64 units, batch 64": (
        "HalfCheetah-v5",
        {"name": "sac", "batch_size": 64},
        {"actor": SMALL, "critic": SMALL},
    ),
    "SAC, 256 units, batch 256": (
        "HalfCheetah-v5",
        {"name": "sac", "batch_size": 256},
        {"actor": LARGE, "critic": LARGE},
    ),
}


class AllSteps:
    """Several gradient steps as one function."""

    def __init__(self, step: UpdateStep) -> None:
        self._call, self._update = step._call, step._update

    def __call__(self, state: State, batch: tuple[Any, ...], scalars: dict[str, torch.Tensor]) -> Result:
        """Take a step with each of the batches."""
        for each in batch:
            result = self._update(state, each, scalars)
        return result


def main() -> None:
    """Measure every case and write the page."""
    torch.set_num_threads(1)
    text = f"""# Several gradient steps in one compiled call

Written by `python docs/benchmarks/one_call.py`: microseconds per gradient step on one thread, in a compiled call for
each and in one compiled call for {STEPS}, median of {TURNS} turns.

| update | a call for each | one call | times as fast | compiling one call |
|---|---|---|---|---|
{chr(10).join(row(name, *case) for name, case in CASES.items())}

Only the step itself is timed: drawing a batch and its noise comes to as much again for small networks, and stays. So
it is small networks that would gain, and these learn in minutes, of which compiling would take a good part. At the
size at which papers take 20 steps, little is gained. And priorities could no longer follow each step. So each step is a
call of its own.
"""
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def row(name: str, env: str, algorithm: dict[str, Any], networks: dict[str, Any]) -> str:
    """One case as a row of the table."""
    each, together, seconds = times(env, algorithm, networks)
    return f"| {name} | {each * 1e6:.0f} | {together * 1e6:.0f} | {each / together:.2f} | {seconds:.0f} s |"


def times(env: str, algorithm: dict[str, Any], networks: dict[str, Any]) -> tuple[float, float, float]:
    """Seconds of a gradient step in a call of its own and in one call with others, and of compiling the latter."""
    spec = {
        "run": {"env_steps": 10**9, "compile": "on"},
        "env": {"name": "gymnasium", "id": env},
        "algorithm": {"learning_starts": 300} | algorithm,
        "memory": {"name": "replay", "capacity": 100_000},
        "network": networks,
    }
    run = Session(slmk.load(spec), seed=0)
    iterations = iterate(run)
    while run.updates < 10:
        next(iterations)
    (step,) = run.algorithm.learner._steps.values()
    single, calls = step._compiled, []
    step._compiled = lambda *arguments: calls.append(arguments) or single(*arguments)
    while len(calls) < STEPS:
        next(iterations)
    state, _, scalars = calls[0]
    batches = tuple(batch for _, batch, _ in calls[:STEPS])
    several = compiled(AllSteps(step).__call__, CPU)
    with torch.no_grad(), subnormals_flushed():
        with fresh_cache():
            seconds = elapsed(lambda: several(state, batches, scalars))
        each = lambda: [single(state, batch, scalars) for batch in batches]  # noqa: E731
        turns = [(elapsed(each), elapsed(lambda: several(state, batches, scalars))) for _ in range(TURNS)]
    medians = [median(column) / STEPS for column in zip(*turns, strict=True)]
    return medians[0], medians[1], seconds


def elapsed(function: Any) -> float:
    """Seconds of a call."""
    start = perf_counter()
    function()
    return perf_counter() - start


if __name__ == "__main__":
    main()
