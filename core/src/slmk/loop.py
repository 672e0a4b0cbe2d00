"""The straight line: act, step, add, learn, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import torch

from slmk import world
from slmk.checkpoint import Checkpoints
from slmk.errors import RunError
from slmk.protocols import Metrics
from slmk.run import Run
from slmk.statistics import finite

__all__ = ["iterate", "train"]

Emit = Callable[[dict[str, Any]], None]
"""Takes one metrics row."""

PROGRESS_SECONDS = 0.5
"""Wall time between two progress rows, which are shown and never stored."""


def iterate(run: Run) -> Iterator[Metrics]:
    """Collect `horizon` vector steps, learn, and yield the metrics; until the budget is used."""
    env, algorithm, memory, tracker, recurrence = run.env, run.algorithm, run.memory, run.tracker, run.recurrence
    while run.env_steps < run.blueprint.run.env_steps:
        progress = run.progress
        with torch.no_grad():
            for _ in range(algorithm.horizon):
                act = algorithm.act(run.obs, progress)
                step = recurrence.follow(run.obs, env.step(act.action))
                if memory is not None:
                    memory.add(run.obs, act, step)
                tracker.add(step)
                run.obs = step.obs
        run.env_steps += run.steps_per_iteration
        run.iterations += 1
        yield algorithm.learn(memory, progress)  # type: ignore[arg-type]


def train(run: Run, checkpoints: Checkpoints, emit: Emit, stop: Callable[[], bool] = lambda: False) -> bool:
    """Run to the end of the budget, reporting, evaluating and saving on the way; whether it got there.

    Reports, evaluations and checkpoints fall on multiples of env steps, never on wall time, so that a resumed run
    makes them at the same points as a straight one.

    Args:
        run: the session.
        checkpoints: where to save.
        emit: takes each row.
        stop: asked after each iteration; True ends the run after a checkpoint.
    """
    every = _intervals(run)
    shown = perf_counter()
    for metrics in iterate(run):
        before = run.env_steps - run.steps_per_iteration
        last = run.env_steps >= run.blueprint.run.env_steps
        due = {what: last or run.env_steps // n > before // n for what, n in every.items()}
        if run.blueprint.run.debug:
            _check_finite(metrics, run.env_steps)
        run.metrics |= metrics  # Not every update has all: some train the actor only now and then.
        if due["report"]:
            emit(_train_row(run))
            run.metrics = {}
        best = due["eval"] and run.blueprint.run.eval_episodes > 0 and _evaluate(run, emit)
        interrupted = world.any_of(stop())
        if due["checkpoint"] or best or interrupted:
            checkpoints.save(run, best=best)
        if interrupted and not last:
            return False
        if perf_counter() - shown > PROGRESS_SECONDS:
            shown = perf_counter()
            emit({"kind": "progress", "seed": run.seed, "env_steps": run.env_steps})
    return True


def _intervals(run: Run) -> dict[str, int]:
    config = run.blueprint.run
    return {
        "report": config.report_every or max(1, config.env_steps // 200),
        "eval": config.eval_every or max(1, config.env_steps // 10),
        "checkpoint": config.checkpoint_every or max(1, config.env_steps // 10),
    }


def _train_row(run: Run) -> dict[str, Any]:
    """One row: counters, episode statistics, metrics of environment and algorithm (one transfer), wall time."""
    run.tracker.flush()
    metrics = run.env.metrics() | run.metrics if hasattr(run.env, "metrics") else run.metrics
    values = torch.stack([value.float() for value in metrics.values()]).tolist() if metrics else []
    elapsed = run.elapsed
    return {
        "kind": "train",
        "seed": run.seed,
        "env_steps": run.env_steps,
        "updates": run.updates,
        **run.tracker.metrics(),
        **dict(zip(metrics, values, strict=True)),
        "time/elapsed_s": elapsed,
        "time/env_steps_per_s": run.env_steps / elapsed,
    }


def _evaluate(run: Run, emit: Emit) -> bool:
    """Emit an evaluation row; whether it is the best so far, which one that is not finite never is.

    In a world, the first process does this for all.
    """
    row = world.told(run.evaluator(run.algorithm.policy, run.env_steps).as_row() if world.rank() == 0 else None)
    emit({"kind": "eval", "seed": run.seed, "env_steps": run.env_steps, **row})
    mean = finite(row["eval/return_mean"])
    if mean is None or (run.best is not None and mean <= run.best):
        return False
    run.best = mean
    return True


def _check_finite(metrics: Metrics, env_steps: int) -> None:
    """Raise where a metric is not finite (``run.debug``)."""
    for name, value in metrics.items():
        if not torch.isfinite(value).all():
            raise RunError(f"{name} is {value.item()} after {env_steps} env steps; resume from the last checkpoint")
