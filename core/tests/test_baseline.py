"""The random policy's return in a folder of specs: stored, found again, and found for the spec of a run."""

import json

from slmk.baseline import random_return, write_baseline


def test_baselines_are_stored_beside_each_other(tmp_path):
    """Each environment has a table; a new measurement replaces its own alone; an unknown one has no baseline."""
    write_baseline(tmp_path, {"id": "CartPole-v1"}, mean=1.0, std=1.0, episodes=5, seed=0)
    write_baseline(tmp_path, {"id": "Pendulum-v1"}, mean=-1200.5, std=300.0, episodes=100, seed=0)
    write_baseline(tmp_path, {"id": "CartPole-v1"}, mean=22.1, std=11.0, episodes=100, seed=0)
    assert random_return(tmp_path, {"id": "CartPole-v1"}) == 22.1
    assert random_return(tmp_path, {"id": "Pendulum-v1"}) == -1200.5
    assert random_return(tmp_path, {"id": "Hopper-v5"}) is None
    assert random_return(tmp_path, {}) is None


def test_the_resolved_spec_of_a_run_has_the_baseline_of_the_run(tmp_path):
    """The manifest beside it has it, for its own environment alone; one that was measured since then comes first."""
    manifest = {"random_return": 22.1, "env": {"name": "gymnasium", "id": "CartPole-v1"}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    write_baseline(tmp_path, {"id": "Pendulum-v1"}, mean=-1200.5, std=300.0, episodes=100, seed=0)
    assert random_return(tmp_path, {"id": "CartPole-v1"}) == 22.1
    assert random_return(tmp_path, {"id": "Hopper-v5"}) is None
    assert random_return(tmp_path, {}) is None
    write_baseline(tmp_path, {"id": "CartPole-v1"}, mean=20.2, std=11.0, episodes=100, seed=0)
    assert random_return(tmp_path, {"id": "CartPole-v1"}) == 20.2


def test_without_a_readable_file_there_is_no_baseline(tmp_path):
    """A missing or broken file is no reason to fail a run."""
    assert random_return(tmp_path, {"id": "CartPole-v1"}) is None
    (tmp_path / "baselines.toml").write_text("[broken")
    (tmp_path / "manifest.json").write_text("[]")
    assert random_return(tmp_path, {"id": "CartPole-v1"}) is None
