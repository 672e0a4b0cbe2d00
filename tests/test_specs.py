"""Every spec in the repository resolves, runs, and says what it should reach."""

from itertools import islice
from pathlib import Path

import pytest
import torch

import slmk
from slmk.loop import iterate
from slmk.metrics import random_return
from slmk.run import Run

SPECS = Path(__file__).parent.parent / "specs"
FILES = sorted(path for path in SPECS.rglob("*.toml") if path.name[0] != "_" and path.name != "baselines.toml")
IDS = [str(path.relative_to(SPECS)) for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_spec_resolves_to_itself(path, tmp_path):
    """The resolved spec, written and read again, is the same blueprint; target and random baseline are there."""
    blueprint = slmk.load(path)
    resolved = tmp_path / "resolved.toml"
    resolved.write_text(blueprint.resolved_toml())
    assert slmk.load(resolved) == blueprint
    assert blueprint.target is not None
    assert blueprint.target.source
    assert random_return(path.parent, blueprint.env.config.model_dump()) is not None


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_spec_runs_two_iterations(path):
    """On its real environment, a shortened version acts and learns twice with finite metrics."""
    small = ["run.compile='off'", "env.vectorization='sync'", "algorithm.horizon=16", "algorithm.minibatches=2"]
    run = Run(slmk.load(path, [*small, "algorithm.epochs=1"]), seed=0)
    try:
        metrics = list(islice(iterate(run), 2))
    finally:
        run.close()
    assert len(metrics) == 2
    assert all(torch.isfinite(value) for row in metrics for value in row.values())
    assert run.env_steps == 2 * 16 * run.num_envs


def test_the_demo_is_the_cartpole_spec():
    """`slmk run` without arguments trains what specs/classic/ppo_cartpole.toml says, with a report."""
    from slmk.cli.train import DEMO

    demo, spec = slmk.load(DEMO), slmk.load(SPECS / "classic" / "ppo_cartpole.toml")
    for section in ("env", "algorithm", "memory", "networks", "normalizers", "target"):
        assert getattr(demo, section) == getattr(spec, section)
    assert demo.run.env_steps == spec.run.env_steps
    assert "report" in [part.component.name for part in demo.reporters]
