"""A training run on Playground that was killed goes on as if it never had been, bit for bit."""

from pathlib import Path

import pytest

from slmk.testing.killed_runs import straight_and_killed
from slmk.testing.run_files import run_difference

pytest.importorskip("mujoco_playground")

SPEC = Path(__file__).parents[4] / "specs" / "playground" / "ppo_cartpolebalance.toml"
SMALL = {
    "run.seeds": 1,
    "run.env_steps": 1280,
    "run.compile": "'off'",
    "run.report_every": 160,
    "run.checkpoint_every": 320,
    "run.eval_every": 640,
    "run.eval_episodes": 1,
    "env.num_envs": 8,
    "env.max_episode_steps": 15,
    "env.impl": "'jax'",
    "algorithm.unroll_length": 5,
    "algorithm.unrolls": 4,
    "algorithm.minibatches": 4,
    "algorithm.epochs": 1,
    "reporter": "[]",
}
"""Episodes end in the middle of rollouts, and checkpoints fall in the middle of episodes."""


@pytest.mark.nightly
def test_a_killed_run_resumes_exactly(tmp_path):
    """Killed with SIGKILL after its second checkpoint and resumed: every metric and every tensor is the same."""
    straight, killed = straight_and_killed(SPEC, SMALL, tmp_path)
    assert run_difference(straight, killed) is None
