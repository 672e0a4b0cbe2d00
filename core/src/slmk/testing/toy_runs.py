"""Whole run directories, made in a moment by an algorithm that does nothing."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from slmk.trial import run

__all__ = ["make_run_directory", "toy_spec"]

_TOYS = Path(__file__).parent / "toys" / "slmk_toys.py"


def toy_spec(seeds: int = 1, **env: Any) -> dict[str, Any]:
    """A spec that any process with slmk can run, of 64 steps per seed; `env` are options of the probe."""
    return {
        "name": "toy",
        "plugins": [str(_TOYS)],
        "run": {"env_steps": 64, "seeds": seeds, "report_every": 16, "eval_episodes": 2},
        "env": {"name": "toy-probe", **env},
        "algorithm": {"name": "toy-idle"},
    }


def make_run_directory(out: Path, spec: Mapping[str, Any] | None = None) -> Path:
    """Run a spec quietly, by default the toy one, and return its run directory."""
    with redirect_stdout(io.StringIO()):
        return run(spec or toy_spec(), out=out).directory
