"""How much faster a run could be at most if acting and learning overlapped in two processes.

    python docs/benchmarks/asynchrony.py     # on an idle machine

The synchronous loop takes a + l for collecting and for learning. Two processes that overlap them perfectly, at no cost
for passing experience and parameters between them, take the longer of the two: so (a + l) / max(a, l) bounds what
asynchrony can give. Two seeds in two processes are what the same cores do otherwise. Writes ``asynchrony.md``.
"""

from __future__ import annotations

from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

import slmk
from slmk.loop import iterate
from slmk.session import Session

SPECS = Path(__file__).parent.parent.parent / "specs"
CASES = ("classic/a2c_cartpole", "classic/dqn_cartpole", "box2d/a2c_lunarlander", "mujoco/sac_halfcheetah")
ITERATIONS = 200
"""Iterations measured, of those that learn."""
SECONDS = 5.0
"""How long iterations are counted."""


def main() -> None:
    """Measure every case and write the page."""
    torch.set_num_threads(1)
    rows = [row(name) for name in CASES]
    text = f"""# Acting and learning at the same time

Written by `python docs/benchmarks/asynchrony.py`. The predecessor had A3C's Hogwild and an asynchronous SAC. In slmk
every run is synchronous, and several seeds fill the cores of a machine. Would it pay to overlap acting and learning in
two processes? The bound says by how much a run could be faster at best, if passing experience and parameters between
processes cost nothing: the time of an iteration over the longer of its two parts. Beside it stands how much more two
seeds in two processes do at once than one alone.

| spec | collecting | learning | bound | two seeds |
|---|---|---|---|---|
{chr(10).join(rows)}

Times are medians over iterations. Where one part dominates, as learning does in SAC, there is next to nothing to gain.
Where the two are alike, the bound is not reached: parameters and experience would have to be passed on in every
iteration, and A2C would learn from what an older policy did. A second seed on the second core needs none of this, and
results need several seeds anyway. So there is no asynchronous loop.
"""
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


def row(name: str) -> str:
    """One case as a row of the table."""
    collecting, learning = shares(name)
    bound = (collecting + learning) / max(collecting, learning)
    seeds = second_seed(name)
    times = f"{collecting * 1e3:.2f} ms | {learning * 1e3:.2f} ms"
    return f"| `specs/{name}.toml` | {times} | {bound:.2f} | {seeds:.2f} |"


def second_seed(name: str) -> float:
    """How many times as much two processes do at once as one alone: the median of three pairs of measurements."""
    return median(sum(counts(name, 2)) / sum(counts(name, 1)) for _ in range(3))


def counts(name: str, processes: int) -> list[int]:
    """Iterations that learn, of each process, while all of them run."""
    context = get_context("spawn")
    start, results = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=count, args=(name, seed, start, results)) for seed in range(processes)]
    for worker in workers:
        worker.start()
    done = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return done


def count(name: str, seed: int, start: Any, results: Any) -> None:
    """A process: train until updates are made, wait for the others, and count iterations for some seconds."""
    torch.set_num_threads(1)
    run = Session(slmk.load(SPECS / f"{name}.toml", ["run.env_steps=1_000_000_000"]), seed=seed)
    iterations = iterate(run)
    while run.updates < ITERATIONS // 2:
        next(iterations)
    start.wait()
    done, end = 0, perf_counter() + SECONDS
    while perf_counter() < end:
        next(iterations)
        done += 1
    results.put(done)
    run.close()


def shares(name: str) -> tuple[float, float]:
    """Median seconds of collecting and of learning in an iteration, once learning has begun."""
    run = Session(slmk.load(SPECS / f"{name}.toml", ["run.env_steps=1_000_000_000"]), seed=0)
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
