"""A training run on mjlab that was killed goes on as if it never had been, bit for bit."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from slmk import load
from slmk.loop import iterate
from slmk.run import Run
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import first_difference

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


SECONDS = 600
"""The longest that a run may take, on a machine that has to compile Warp's kernels and does other things besides."""


@pytest.fixture
def slmk():
    """Starts the command; what still runs after the test is killed."""
    started = []

    def start(*words):
        words = [sys.executable, "-m", "slmk", *map(str, words)]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process):
    printed, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, printed.decode()


def rows(directory):
    lines = (directory / "seed-0" / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith("time/")} for line in lines]


def tensors(directory):
    newest = max((directory / "seed-0" / "checkpoints").glob("[0-9]*"))
    return load_file(newest / "state.safetensors")


def test_a_run_goes_on_bit_for_bit():
    """Two iterations after a state from a file, in the middle of episodes, are those of the run that never stopped."""
    blueprint = load(SPEC, [*(f"{name}={value}" for name, value in SMALL.items()), "algorithm.horizon=8"])
    straight, resumed = Run(blueprint, seed=0), Run(blueprint, seed=0)
    going = iterate(straight)
    next(going)
    resumed.load_state_dict(through_a_file(straight.state_dict()))
    for run in (going, iterate(resumed)):
        next(run), next(run)
    a, b = (through_a_file(run.state_dict()) for run in (straight, resumed))
    assert a["env"]["simulation"]["objects"]["common_step_counter"] == 24
    assert first_difference({**a, "seconds": 0}, {**b, "seconds": 0}) is None


@pytest.mark.slow
def test_a_killed_run_resumes_exactly(tmp_path, slmk):
    """Killed with SIGKILL after its second checkpoint and resumed: every metric and every tensor is the same."""
    changes = [word for name, value in SMALL.items() for word in ("-s", f"{name}={value}")]
    straight, killed = (slmk("run", SPEC, *changes, "--out", tmp_path / name) for name in ("straight", "killed"))
    deadline = time.monotonic() + SECONDS
    while len(list(tmp_path.glob("killed/*/*/seed-0/checkpoints/[0-9]*/state.json"))) < 2:
        assert time.monotonic() < deadline
        assert killed.poll() is None, killed.communicate()[0].decode()
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    (directory,) = tmp_path.glob("killed/*/*")
    assert not (directory / "summary.json").exists()
    ended(slmk("resume", directory))
    ended(straight)
    (other,) = tmp_path.glob("straight/*/*")
    assert rows(directory) == rows(other)
    assert any("env/Episode_Reward/smooth_reward" in row for row in rows(other))
    assert first_difference(tensors(directory), tensors(other)) is None
