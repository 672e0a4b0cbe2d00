"""Run directories as the kernel writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from slmk.metrics import session_summary, trial_summary

BUDGET = 1000
"""Environment steps of a whole run; there is a row every hundred."""
RESOLVED = """name = "{name}"  # default

[run]
env_steps = 1000  # toy.toml:4
seeds = {seeds}  # --seeds

[algorithm]
name = "ppo"  # toy.toml:7
gamma = {gamma}  # toy.toml:8
"""

MakeRun = Callable[..., Path]


def train_row(seed: int, index: int, returns: float | None) -> dict[str, Any]:
    """The row after `index` hundred env steps, each hundred in half a second."""
    return {
        "kind": "train",
        "seed": seed,
        "env_steps": 100 * index,
        "updates": 4 * index,
        "episode/return": returns,
        "episode/return_ma": returns,
        "episode/length_ma": returns,
        "episode/count": 0 if returns is None else 5 * index,
        "loss/policy": -0.01 * index,
        "policy/entropy": 0.7 - 0.05 * index + 0.01 * seed,
        "time/elapsed_s": 0.5 * index,
        "time/env_steps_per_s": 200.0,
    }


def eval_row(seed: int, env_steps: int, returns: float) -> dict[str, Any]:
    """An evaluation of ten episodes."""
    row = {"eval/return_mean": returns, "eval/return_std": 0.0, "eval/length_mean": returns, "eval/episodes": 10}
    return {"kind": "eval", "seed": seed, "env_steps": env_steps, **row}


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Writes a run directory.

    The return of seed k grows by `gains[k]` each hundred steps, up to `rows` hundred; ``None`` instead of a gain is a
    seed in which no episode ends.
    """

    def make(
        run_id: str = "20260101-000000-aaaa",
        gains: Sequence[float | None] = (40.0, 60.0),
        *,
        name: str = "toy",
        env: str = "Toy-v1",
        gamma: float = 0.99,
        rows: int = 10,
        target: float | None = 475.0,
    ) -> Path:
        directory = tmp_path / name / run_id
        curves = [_session(directory / f"seed-{k}", k, gain, rows) for k, gain in enumerate(gains)]
        goal = None if target is None else {"score": target, "metric": "final_return_ma", "source": "a paper"}
        manifest = {
            "slmk": "0.1.0",
            "name": name,
            "created": "2026-01-01T00:00:00+00:00",
            "command": ["slmk", "run", "toy.toml"],
            "commit": "0123456789abcdef",
            "dirty": True,
            "python": "3.11.7",
            "platform": "Linux",
            "cpu": "x86_64",
            "cores": 2,
            "device": "cpu",
            "versions": {"slmk": "0.1.0", "torch": "2.13.0"},
            "seeds": list(range(len(gains))),
            "env_steps": BUDGET,
            "env": {"name": "gymnasium", "id": env},
            "algorithm": "ppo",
            "target": goal,
            "random_return": 20.0,
        }
        (directory / "manifest.json").write_text(json.dumps(manifest))
        (directory / "spec.toml").write_text('# a <toy> & its "spec"\n[run]\nenv_steps = 1000\n')
        (directory / "resolved.toml").write_text(RESOLVED.format(name=name, seeds=len(gains), gamma=gamma))
        if rows == BUDGET // 100:
            sessions = [session_summary(curve, 20.0) for curve in curves]
            summary = trial_summary(name, sessions, curves, 20.0, goal, seeds=len(curves))
            (directory / "summary.json").write_text(json.dumps(summary))
        return directory

    return make


def _session(directory: Path, seed: int, gain: float | None, count: int) -> list[dict[str, Any]]:
    directory.mkdir(parents=True)
    rows = [train_row(seed, index, None if gain is None else gain * index) for index in range(1, count + 1)]
    if gain is not None:
        rows += [eval_row(seed, 100 * count, gain * count)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows
