"""The specs of mjlab's tasks, against what mjlab trains them with."""

from dataclasses import asdict
from pathlib import Path

import pytest

import slmk

tasks = pytest.importorskip("mjlab.tasks.registry", reason="mjlab has an environment of its own: .venv-mjlab")

SPECS = Path(__file__).parents[4] / "specs" / "mjlab"
FILES = [path for path in sorted(SPECS.glob("*.toml")) if path.name[0] != "_"]
ELSEWHERE = ("Tracking", "Yam-Depth", "Yam-Rgb", "Multi-Cube-Seg")
"""Parts of the names of tasks without a spec: those that ask for a motion, or train on a camera's pictures."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_spec_says_what_mjlab_does(path):
    """Networks, PPO's options and steps of an iteration are those of the task's `rl_cfg`; so is the budget, but for the
    cart-poles, which a CPU can train with fewer environments."""
    spec = slmk.load(path)
    theirs = asdict(tasks.load_rl_cfg(spec.env.config.id))
    ppo, algorithm, env = theirs["algorithm"], spec.algorithm.config, spec.env.config
    assert (algorithm.lr.start, algorithm.lr.kl) == (ppo["learning_rate"], ppo["desired_kl"])
    assert (ppo["schedule"], ppo["use_clipped_value_loss"]) == ("adaptive", True)
    for ours, name in {
        "epochs": "num_learning_epochs",
        "minibatches": "num_mini_batches",
        "gamma": "gamma",
        "lam": "lam",
        "clip": "clip_param",
        "value_clip": "clip_param",
        "entropy": "entropy_coef",
        "max_grad_norm": "max_grad_norm",
    }.items():
        assert getattr(algorithm, ours) == ppo[name], ours
    assert algorithm.value_coefficient == 2 * ppo["value_loss_coef"]  # Ours weighs half the squared error.
    for role in ("actor", "critic"):
        network = spec.networks[role].config
        assert list(network.hidden) == list(theirs[role]["hidden_dims"])
        assert network.activation == theirs[role]["activation"]
        assert ("obs" in spec.normalizers) == theirs[role]["obs_normalization"]
    assert algorithm.horizon == theirs["num_steps_per_env"]
    if "Cartpole" not in env.id:
        assert spec.run.env_steps == theirs["max_iterations"] * algorithm.horizon * env.num_envs


def test_every_other_task_has_a_spec():
    """mjlab's own; further ones may come from other packages."""
    known = {slmk.load(path).env.config.id for path in FILES}
    ours = {name for name in tasks.list_tasks() if name.startswith("Mjlab-")}
    assert known == {name for name in ours if not any(part in name for part in ELSEWHERE)}
