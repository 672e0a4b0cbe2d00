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
from slmk.session import Session
from slmk.statistics import finite

__all__ = ["iterate", "train"]

Emit = Callable[[dict[str, Any]], None]
"""Takes one metrics row."""

PROGRESS_SECONDS = 0.5
"""Wall time between two progress rows, which are shown and never stored."""


def iterate(session: Session) -> Iterator[Metrics]:
    """Collect `horizon` vector steps, learn, and yield the metrics; until the budget is used.

    Where ``run.restart_every`` says so, new episodes begin everywhere before an iteration.
    """
    env, algorithm, memory = session.env, session.algorithm, session.memory
    tracker, recurrence = session.tracker, session.recurrence
    while session.env_steps < session.blueprint.run.env_steps:
        if session.passed(session.blueprint.run.restart_every):
            session.restart_episodes()
        progress = session.progress
        with torch.no_grad():
            for _ in range(algorithm.horizon):
                act = algorithm.act(session.obs, progress)
                step = recurrence.follow(session.obs, env.step(act.action))
                if memory is not None:
                    memory.add(session.obs, act, step)
                tracker.add(step)
                session.obs = step.obs
        session.env_steps += session.steps_per_iteration
        session.iterations += 1
        yield algorithm.learn(memory, progress)  # type: ignore[arg-type]


def train(session: Session, checkpoints: Checkpoints, emit: Emit, stop: Callable[[], bool] = lambda: False) -> bool:
    """Train to the end of the budget, reporting, evaluating and saving on the way.

    Reports, evaluations and checkpoints fall on multiples of env steps, never on wall time, so that a resumed run
    makes them at the same points as a straight one.

    Args:
        session: what is trained.
        checkpoints: where to save.
        emit: takes each row.
        stop: asked after each iteration; True ends the run after a checkpoint.

    Returns:
        Whether the budget is used up; otherwise `stop` has ended it.
    """
    every = _intervals(session)
    shown = perf_counter()
    for metrics in iterate(session):
        last = session.env_steps >= session.blueprint.run.env_steps
        due = {what: last or session.passed(n) for what, n in every.items()}
        if session.blueprint.run.debug:
            _check_finite(metrics, session.env_steps)
        session.metrics |= metrics  # Not every update has all: some train the actor only now and then.
        if due["report"]:
            emit(_train_row(session))
            session.metrics = {}
        best = due["eval"] and session.blueprint.run.eval_episodes > 0 and _evaluate(session, emit)
        interrupted = world.any_of(stop())
        if due["checkpoint"] or best or interrupted:
            checkpoints.save(session, best=best)
        if interrupted and not last:
            return False
        if perf_counter() - shown > PROGRESS_SECONDS:
            shown = perf_counter()
            emit({"kind": "progress", "seed": session.seed, "env_steps": session.env_steps})
    return True


def _intervals(session: Session) -> dict[str, int]:
    config = session.blueprint.run
    return {
        "report": config.report_every or max(1, config.env_steps // 200),
        "eval": config.eval_every or max(1, config.env_steps // 10),
        "checkpoint": config.checkpoint_every or max(1, config.env_steps // 10),
    }


def _train_row(session: Session) -> dict[str, Any]:
    """One row: counters, episode statistics, metrics of environment and algorithm (one transfer), wall time."""
    session.tracker.flush()
    metrics = session.env.metrics() | session.metrics if hasattr(session.env, "metrics") else session.metrics
    values = torch.stack([value.float() for value in metrics.values()]).tolist() if metrics else []
    elapsed = session.elapsed
    return {
        "kind": "train",
        "seed": session.seed,
        "env_steps": session.env_steps,
        "updates": session.updates,
        **session.tracker.metrics(),
        **dict(zip(metrics, values, strict=True)),
        "time/elapsed_s": elapsed,
        "time/env_steps_per_s": session.env_steps / elapsed,
    }


def _evaluate(session: Session, emit: Emit) -> bool:
    """Emit an evaluation row; whether it is the best so far, which one that is not finite never is.

    In a world, the first process does this for all.
    """
    row = world.told(
        session.evaluator(session.algorithm.policy, session.env_steps).as_row() if world.rank() == 0 else None
    )
    emit({"kind": "eval", "seed": session.seed, "env_steps": session.env_steps, **row})
    mean = finite(row["eval/return_mean"])
    if mean is None or (session.best is not None and mean <= session.best):
        return False
    session.best = mean
    return True


def _check_finite(metrics: Metrics, env_steps: int) -> None:
    """Raise where a metric is not finite (``run.debug``)."""
    for name, value in metrics.items():
        if not torch.isfinite(value).all():
            raise RunError(f"{name} is {value.item()} after {env_steps} env steps; resume from the last checkpoint")
