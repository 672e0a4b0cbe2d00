"""A run that was stopped goes on as if it never had been, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from slmk import CheckpointError, Policy, RunError, load, trial
from slmk.loop import iterate
from slmk.session import Session
from slmk.testing.run_files import rows, run_difference

HERE = Path(__file__).parent
SPECS = HERE.parent / "specs"
SLMK = [sys.executable, "-m", "slmk"]
SMALL = (
    "run.seeds=1",
    "run.env_steps=8192",
    "run.compile='off'",
    "run.report_every=512",
    "run.checkpoint_every=1024",
    "run.eval_every=2048",
    "run.eval_episodes=1",
    "env.num_envs=4",
    "algorithm.horizon=64",
    "algorithm.minibatches=4",
    "algorithm.epochs=2",
    "reporter=[]",
)
KINDS = {
    "discrete": ("classic/ppo_cartpole.toml", ()),
    "continuous": ("classic/ppo_pendulum.toml", ("env.vectorization='sync'",)),
    "mujoco": (
        "mujoco/ppo_hopper.toml",
        ("env.vectorization='sync'", "network.actor.hidden=[32]", "run.restart_every=512"),
    ),
}


def trained(kind: str, out: Path, *more: str) -> trial.Result:
    spec, overrides = KINDS[kind]
    return trial.run(SPECS / spec, (*SMALL, *overrides, *more), out=out)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """Straight runs, made once for each kind."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = trained(kind, tmp_path_factory.mktemp(kind)).directory
        return made[kind]

    return get


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_resumes_exactly(kind, straight, tmp_path, monkeypatch):
    """Stopped after some iterations without a checkpoint there, resumed: metrics and every tensor are the same."""
    import slmk.loop

    iterate = slmk.loop.iterate

    def until_half(run):
        for metrics in iterate(run):
            if run.env_steps > 3700:
                raise KeyboardInterrupt
            yield metrics

    monkeypatch.setattr(slmk.loop, "iterate", until_half)
    with pytest.raises(KeyboardInterrupt):
        trained(kind, tmp_path)
    monkeypatch.setattr(slmk.loop, "iterate", iterate)
    (directory,) = tmp_path.glob("*/*")
    assert run_difference(trial.resume(directory).directory, straight(kind)) is None


@pytest.mark.parametrize("name", ["a2c", "ppo", "sarsa"])
def test_returns_do_not_go_on_where_episodes_restart(name):
    """Rewards are scaled by the spread of returns; that of a new episode begins at 0."""
    run = {"env_steps": 1000, "compile": "off"}
    parts = {"env": {"name": "gymnasium", "id": "CartPole-v1"}, "memory": {"name": "rollout"}}
    networks = {role: {"name": "mlp"} for role in (("q",) if name == "sarsa" else ("actor", "critic"))}
    spec = {"name": "restarts", "run": run, "algorithm": {"name": name}, "network": networks, **parts}
    made = Session(load(spec | {"normalizer": {"reward": {"name": "running"}}}), seed=0)
    next(iterate(made))
    assert made.algorithm.scaler.carry.item() > 0
    made.restart_episodes()
    assert made.algorithm.scaler.carry.item() == 0
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_twenty_kills_lose_nothing(kind, straight, tmp_path):
    """Killed with SIGKILL twenty times at random moments, the run ends with the bits of the straight one."""
    spec, overrides = KINDS[kind]
    command = [sys.executable, HERE / "kill_harness.py", SPECS / spec, tmp_path, "20", *SMALL, *overrides]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (directory,) = (path.parent for path in tmp_path.glob("*/*/summary.json"))
    assert run_difference(directory, straight(kind)) is None
    assert not list(directory.rglob("*.tmp/.."))


@pytest.mark.parametrize(("number", "code", "seeds"), [(signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 1)])
def test_signals_save_and_exit_with_their_code(number, code, seeds, straight, tmp_path):
    """Ctrl-C exits 130 and SIGTERM 143, each after a checkpoint; `slmk resume` ends with the straight run's bits."""
    process = started(tmp_path, seeds)
    wait_until(process, lambda: list(tmp_path.glob("*/*/seed-0/checkpoints/[0-9]*/state.json")))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "stopping after this iteration" in errors
    assert "slmk resume" in errors
    assert_resume_ends_as(straight("discrete"), tmp_path)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for the sessions' processes")
def test_a_run_can_be_stopped_before_its_sessions_train(straight, tmp_path):
    """Ctrl-C exits 130 while processes start, too, and the run can be resumed."""
    process = started(tmp_path, seeds=2)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(process, lambda: len(children.read_text().split()) >= 2)  # One of them tracks resources.
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "slmk resume" in errors
    assert_resume_ends_as(straight("discrete"), tmp_path)


SLOW = """
import time
from pathlib import Path

import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv


class Slow(CartPoleEnv):
    def step(self, action):
        Path(__file__).with_suffix(".stepping").touch()
        time.sleep(300)


gymnasium.register("Slow-v0", Slow)
"""


@pytest.mark.parametrize(
    ("seeds", "sigint"),
    [(1, signal.default_int_handler), (2, signal.default_int_handler), (1, signal.SIG_IGN), (2, signal.SIG_IGN)],
)
def test_a_second_signal_does_not_wait_for_the_iteration(seeds, sigint, tmp_path, monkeypatch):
    """Nothing is saved then, but the run ends as after one Ctrl-C; in a shell's background, too."""
    (tmp_path / "slow.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    slow = ("env.id='slow:Slow-v0'", "env.num_envs=1", "env.vectorization='sync'")
    process = started(tmp_path / "runs", seeds, *slow, sigint=sigint)
    wait_until(process, (tmp_path / "slow.stepping").exists)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "stopping after this iteration" in errors
    assert "Traceback" not in errors


def started(out, seeds, *more, sigint=signal.default_int_handler):
    """`slmk run` on something small, in a process that inherits what SIGINT does: nothing in a shell's background."""
    sets = [word for change in (*SMALL, *more) for word in ("-s", change)]
    command = [*SLMK, "run", SPECS / KINDS["discrete"][0], *sets, "--seeds", str(seeds), "--out", out]
    before = signal.signal(signal.SIGINT, sigint)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


def wait_until(process, there):
    """Until a process that runs has come so far."""
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def assert_resume_ends_as(straight, out):
    """`slmk resume` ends with the straight run's bits."""
    (directory,) = out.glob("*/*")
    subprocess.run([*SLMK, "resume", directory], check=True, capture_output=True, timeout=120)
    assert run_difference(directory / "seed-0", straight / "seed-0") is None


def test_compiled_runs_resume_exactly_too(tmp_path):
    """With a compiled update, stopping and resuming gives the straight run's parameters."""
    short = ("run.compile='on'", "run.env_steps=2048")
    one = trained("discrete", tmp_path / "a", *short).directory
    two = trained("discrete", tmp_path / "b", *short).directory
    newest = max((two / "seed-0" / "checkpoints").glob("[0-9]*"))
    assert newest.name == "000000002048"
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    (two / "seed-0" / "summary.json").unlink()
    trial.resume(two)
    assert run_difference(one, two) is None


def test_a_truncated_checkpoint_is_a_clear_error(tmp_path):
    """Resume refuses a damaged checkpoint by name and leaves the run as it was."""
    directory = trained("discrete", tmp_path, "run.env_steps=1024").directory
    (directory / "seed-0" / "summary.json").unlink()
    newest = max((directory / "seed-0" / "checkpoints").glob("[0-9]*"))
    (newest / "state.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=newest.name):
        trial.resume(directory)


def test_a_foreign_directory_is_a_clear_error(tmp_path):
    """A directory that is no run cannot be resumed."""
    with pytest.raises(CheckpointError, match="not a run directory"):
        trial.resume(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc").exists(), reason="needs a path nobody can write to")
def test_an_unwritable_place_is_a_clear_error():
    """Where no directory can be made, the run ends with one sentence."""
    with pytest.raises(RunError, match="cannot write to the run directory"):
        trained("discrete", Path("/proc/slmk"))


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 400 kB."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("mounting needs root")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_is_a_clear_error(tiny_disk):
    """When a checkpoint no longer fits, the run ends with one sentence, and an earlier checkpoint is still whole."""
    with pytest.raises(RunError, match="cannot write"):
        trained("discrete", tiny_disk, "network.critic.hidden=[128, 128]")
    (checkpoints,) = tiny_disk.glob("*/*/seed-0/checkpoints")
    for path in checkpoints.glob("[0-9]*"):
        assert load_file(path / "state.safetensors")
    assert not list(checkpoints.glob("*.tmp"))


def test_a_resumed_run_that_is_done_changes_nothing(straight):
    """Resuming a finished run returns its summary and adds no rows."""
    directory = straight("discrete")
    before = rows(directory / "seed-0")
    result = trial.resume(directory)
    assert rows(directory / "seed-0") == before
    assert result.summary["env_steps"] == 8192


def test_the_policy_of_a_run_acts_without_its_environment(straight):
    """Policy.load takes single observations and batches, and refuses other shapes."""
    import numpy as np

    policy = Policy.load(straight("discrete"))
    obs = np.array([0.0, 0.0, 0.1, 0.5], dtype=np.float32)
    batch = policy(np.stack([obs, -obs]))
    assert batch.shape == (2,)
    assert policy(obs) == batch[0]
    with pytest.raises(ValueError, match="expected"):
        policy(np.zeros(3))
