"""How much faster a run could be at most if acting and learning overlapped in two processes.

    python docs/benchmarks/asynchrony.py     # on an idle machine

The synchronous loop takes a + l for collecting and for learning. Two processes that overlap them perfectly, at no cost
for passing experience and parameters between them, take the longer of the two: so (a + l) / max(a, l) bounds what
asynchrony can give. Writes ``asynchrony.md``.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

import slmk
from slmk.loop import iterate
from slmk.run import Run

SPECS = Path(__file__).parent.parent.parent / "specs"
CASES = ("classic/a2c_cartpole", "classic/dqn_cartpole", "box2d/a2c_lunarlander", "mujoco/sac_halfcheetah")
ITERATIONS = 200
"""Iterations measured, of those that learn."""


def main() -> None:
    """Measure every case and write the page."""
    torch.set_num_threads(1)
    rows = [row(name) for name in CASES]
    text = f"""# Acting and learning at the same time

Written by `python docs/benchmarks/asynchrony.py`. The predecessor had A3C's Hogwild and an asynchronous SAC. In slmk
every run is synchronous, and several seeds fill the cores of a machine. Would it pay to overlap acting and learning in
two processes? The bound says by how much a run could be faster at best, if passing experience and parameters between
processes cost nothing: the time of an iteration over the longer of its two parts.

| spec | collecting | learning | bound |
|---|---|---|---|
{chr(10).join(rows)}

Times are medians over iterations. Where one part dominates, as learning does in SAC, there is next to nothing to gain.
Where the two are alike, the bound is not reached: parameters and experience would have to be passed on in every
iteration, and A2C would learn from what an older policy did. A second seed on the second core needs none of this, and
doubles the work done as far as the two do not slow each other down. So there is no asynchronous loop.
"""
    Path(__file__).with_suffix(".md").write_text(text)
    print(text)


def row(name: str) -> str:
    """One case as a row of the table."""
    collecting, learning = shares(name)
    bound = (collecting + learning) / max(collecting, learning)
    return f"| `specs/{name}.toml` | {collecting * 1e3:.2f} ms | {learning * 1e3:.2f} ms | {bound:.2f} |"


def shares(name: str) -> tuple[float, float]:
    """Median seconds of collecting and of learning in an iteration, once learning has begun."""
    run = Run(slmk.load(SPECS / f"{name}.toml", ["run.env_steps=1_000_000_000"]), seed=0)
    learn: Any = run.algorithm.learn
    spent: list[float] = []

    def timed(*arguments: Any) -> Any:
        start = perf_counter()
        metrics = learn(*arguments)
        spent.append(perf_counter() - start)
        return metrics

    run.algorithm.learn = timed  # type: ignore[method-assign]
    iterations, collecting, learning = iterate(run), [], []
    while len(learning) < ITERATIONS:
        before = run.updates
        start = perf_counter()
        next(iterations)
        whole = perf_counter() - start
        if run.updates > before > 0:
            learning.append(spent[-1])
            collecting.append(whole - spent[-1])
    run.close()
    return median(collecting), median(learning)


if __name__ == "__main__":
    main()
