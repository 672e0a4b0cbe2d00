"""Runs of two processes that ``torchrun`` starts."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from slmk.testing.run_files import newest_state, rows, run_difference

SPEC = Path(__file__).parent.parent / "specs" / "classic" / "ppo_cartpole.toml"
PROCESSES = 2
STEPS = 4096
SMALL = {
    "run.seeds": 1,
    "run.env_steps": STEPS,
    "run.compile": "'off'",
    "run.report_every": 256,
    "run.checkpoint_every": 512,
    "run.eval_every": 1024,
    "run.eval_episodes": 1,
    "env.num_envs": 4,
    "algorithm.horizon": 32,
    "reporter": "[]",
}


def torchrun(*arguments: object, **settings: object) -> list[str]:
    """The command line for ``slmk`` in two processes."""
    sets = [f"-s{key}={value}" for key, value in settings.items()]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}"]
    return [*start, "-m", "slmk", *map(str, arguments), *sets]


def trained(out: Path, *arguments: object, **settings: object) -> Path:
    """The directory of a run under `out`, after a command has ended well."""
    done = subprocess.run(torchrun(*arguments, **settings), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return next((out / SPEC.stem).iterdir())


@pytest.fixture(scope="module")
def straight(once) -> Path:
    """A run without a stop."""
    out = once("torchrun", lambda out: trained(out, "run", SPEC, "--out", out, **SMALL))
    return next((out / SPEC.stem).iterdir())


def test_processes_share_parameters_and_nothing_else(straight):
    """What is learned is the same in both, bit for bit; what is seen is not. Steps count for all."""
    first, second = (newest_state(straight / home / "seed-0") for home in ("", "rank-1"))
    learned = [name for name in first if name.startswith("algorithm/learner/")]
    assert learned
    assert [name for name in learned if not torch.equal(first[name], second[name])] == []
    assert not torch.equal(first["obs/obs"], second["obs/obs"])
    manifest = json.loads((straight / "manifest.json").read_text())
    assert manifest["processes"] == PROCESSES
    assert rows(straight / "seed-0")[-1]["env_steps"] == STEPS
    updates = STEPS // (32 * 4 * PROCESSES) * 16
    assert max(row.get("updates", 0) for row in rows(straight / "seed-0")) == updates


def test_killed_processes_resume_exactly(straight, tmp_path):
    """After kill -9 of one and `resume`, metrics and the state of both are those of a straight run, bit for bit."""
    command = torchrun("run", SPEC, "--out", tmp_path, **SMALL)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not list(tmp_path.glob("*/*/rank-1/seed-0/checkpoints/[0-9]*/state.json")):
        assert process.poll() is None, "it ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    members = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout
    os.kill(int(members.split()[-1]), signal.SIGKILL)
    assert process.wait(timeout=120) != 0
    directory = next((tmp_path / SPEC.stem).iterdir())
    assert not (directory / "seed-0" / "summary.json").exists(), "it was done before it was killed"
    assert trained(tmp_path, "resume", directory) == directory
    assert run_difference(straight, directory) is None


def test_another_number_of_processes_is_refused(straight):
    """A run of two cannot be resumed by one: half of the environments would be lost."""
    command = [sys.executable, "-m", "slmk", "resume", str(straight)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "made by 2 processes" in done.stderr


def test_a_wrong_spec_is_told(tmp_path):
    """By whoever finds the mistake first, since torchrun stops the others then; nothing is left."""
    command = torchrun("run", SPEC, "--out", tmp_path, **{"algorithm.nonsense": 1})
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "algorithm.nonsense: unknown key" in done.stderr
    assert list(tmp_path.iterdir()) == []
