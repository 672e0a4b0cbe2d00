"""Every spec in the repository resolves, runs, and says what it should reach."""

from functools import cache
from itertools import islice
from pathlib import Path

import pytest
import torch

import slmk
from slmk import trial
from slmk.baseline import random_return
from slmk.loop import iterate
from slmk.scoring import score
from slmk.session import Session

SPECS = Path(__file__).parent.parent / "specs"
FILES = sorted(path for path in SPECS.rglob("*.toml") if path.name[0] != "_" and path.name != "baselines.toml")
IDS = [str(path.relative_to(SPECS)) for path in FILES]
COMPILED = SPECS / "playground"
MJLAB = SPECS / "mjlab"
"""Specs that need an environment of their own: `make test` runs them in ``.venv-mjlab``, and nothing else there."""
QUICKEST = (COMPILED / "ppo_cartpolebalance.toml", MJLAB / "ppo_cartpole_balance.toml", MJLAB / "ppo_go1_flat.toml")
"""Of those whose environments take up to a minute or more to compile; the others learn in `make nightly`."""
TRAINED = [
    pytest.param(path, marks=pytest.mark.nightly) if path.parent in (COMPILED, MJLAB) and path not in QUICKEST else path
    for path in FILES
]
UNPUBLISHED = {
    "ppo_cartpolebalance_short",
    "ppo_cartpolebalance_vision",
    "ppo_cartpoleswingup_short",
    "ppo_cartpole_balance",
    "ppo_cartpole_swingup",
    "ppo_cheetahrun_short",
    "ppo_g1_flat",
    "ppo_g1_rough",
    "ppo_go1_flat",
    "ppo_go1_rough",
    "ppo_go1joystickflatterrain",
    "ppo_go1joystickflatterrain_envpool",
    "ppo_go1joystickroughterrain",
    "ppo_h1inplacegaittracking",
    "ppo_mlp_cartpole_positions",
    "ppo_spotgetup",
    "ppo_spotjoystickgaittracking",
    "ppo_yam_lift_cube",
    "rlpd_acrobot",
    "sac_hopper_short",
    "sac_mlp_pendulum_positions",
}
"""Specs without a score to reach: nobody has published one, or they are the control of another."""


@pytest.fixture(autouse=True)
def _has_what_it_needs(request):
    """Skips specs of mjlab where mjlab is not installed."""
    path = request.getfixturevalue("path")
    if path.parent == MJLAB:
        pytest.importorskip("mjlab", reason="mjlab has an environment of its own: .venv-mjlab")


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Overrides by which a spec finds its demonstrations: a recording of the random policy's episodes."""

    @cache
    def recorded(env_id):
        folder = tmp_path_factory.mktemp("demonstrations")
        spec = {
            "name": "random",
            "run": {"env_steps": 16, "eval_episodes": 0},
            "env": {"name": "gymnasium", "id": env_id},
            "algorithm": {"name": "random"},
        }
        score(trial.run(spec, out=folder).directory, episodes=2, record=folder / "random-v0")
        return folder / "random-v0"

    def overrides(path):
        blueprint = slmk.load(path)
        wanted = blueprint.memory is not None and hasattr(blueprint.memory.config, "demonstrations")
        return [f"memory.demonstrations='{recorded(blueprint.env.config.id)}'"] if wanted else []

    return overrides


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_spec_resolves_to_itself(path, tmp_path):
    """The resolved spec, written and read again, is the same blueprint; target and random baseline are there.

    Random returns of mjlab's and of most of Playground's environments are yet to be measured.
    """
    blueprint = slmk.load(path)
    resolved = tmp_path / "resolved.toml"
    resolved.write_text(blueprint.resolved_toml())
    assert slmk.load(resolved) == blueprint
    assert (blueprint.target is None) == (path.stem in UNPUBLISHED)
    assert blueprint.target is None or blueprint.target.source
    assert path.parent in (COMPILED, MJLAB) or random_return(path.parent, blueprint.env.resolved()) is not None


SHORT = {
    "env": {"num_envs": 64},
    "algorithm": {
        "minibatches": 2,
        "epochs": 1,
        "learning_starts": 0,
        "batch_size": 16,
        "horizon": 16,
        "unroll_length": 4,
        "unrolls": 2,
    },
    "memory": {"capacity": 2000},
}
"""The most that options may be, where there are such, so that any algorithm learns soon."""


def shortened(blueprint):
    """Overrides that make the spec's run short."""
    for section, options in SHORT.items():
        given = getattr(blueprint, section).config.model_dump()
        yield from (f"{section}.{name}={value}" for name, value in options.items() if given.get(name, 0) > value)
    if "vectorization" in type(blueprint.env.config).model_fields:
        yield "env.vectorization=sync"


@pytest.mark.parametrize("path", TRAINED, ids=IDS)
def test_spec_learns_twice(path, inputs):
    """On its real environment, a shortened version acts and learns twice with finite metrics."""
    given = inputs(path)
    run = Session(slmk.load(path, [*given, "run.compile='off'", *shortened(slmk.load(path, given))]), seed=0)
    try:
        metrics = list(islice((row for row in islice(iterate(run), 100) if row), 2))
    finally:
        run.close()
    assert len(metrics) == 2
    assert all(torch.isfinite(value) for row in metrics for value in row.values())
