"""A training run on mjlab that was killed goes on as if it never had been, bit for bit."""

from pathlib import Path

import pytest

from slmk import load
from slmk.loop import iterate
from slmk.session import Session
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import first_difference
from slmk.testing.killed_runs import straight_and_killed
from slmk.testing.run_files import rows, run_difference

pytest.importorskip("mjlab", reason="mjlab has an environment of its own: .venv-mjlab")

SPEC = Path(__file__).parents[4] / "specs" / "mjlab" / "ppo_cartpole_balance.toml"
SMALL = {
    "run.seeds": 1,
    "run.env_steps": 640,
    "run.compile": "'off'",
    "run.report_every": 80,
    "run.checkpoint_every": 160,
    "run.eval_every": 320,
    "run.eval_episodes": 1,
    "env.num_envs": 4,
    "env.overrides": "{ episode_length_s = 0.2, decimation = 1 }",
    "algorithm.horizon": 20,
    "algorithm.epochs": 1,
    "reporter": "[]",
}


def test_a_run_goes_on_bit_for_bit():
    """Two iterations after a state from a file, in the middle of episodes, are those of the run that never stopped."""
    blueprint = load(SPEC, [*(f"{name}={value}" for name, value in SMALL.items()), "algorithm.horizon=8"])
    straight, resumed = Session(blueprint, seed=0), Session(blueprint, seed=0)
    going = iterate(straight)
    next(going)
    resumed.load_state_dict(through_a_file(straight.state_dict()))
    for run in (going, iterate(resumed)):
        next(run), next(run)
    a, b = (through_a_file(run.state_dict()) for run in (straight, resumed))
    assert a["env"]["simulation"]["objects"]["common_step_counter"] == 24
    assert first_difference({**a, "seconds": 0}, {**b, "seconds": 0}) is None


@pytest.mark.nightly
def test_a_killed_run_resumes_exactly(tmp_path):
    """Killed with SIGKILL after its second checkpoint and resumed: every metric and every tensor is the same."""
    straight, killed = straight_and_killed(SPEC, SMALL, tmp_path)
    assert run_difference(straight, killed) is None
    assert any("env/Episode_Reward/smooth_reward" in row for row in rows(straight / "seed-0"))
