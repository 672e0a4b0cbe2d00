"""Brax's PPO here against Brax's own on JAX, each in a process of its own, in turn on the same core."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BRAX = ROOT / ".venv-brax" / "bin" / "python"
NUM_ENVS, BATCH_SIZE, UNROLLS, EPOCHS = 256, 16, 2, 2
"""An eighth of the official environments, a 64th of the official batches and 2 epochs rather than 16, since with these
an iteration of Brax took 80 seconds and ours 8. The rest is official: 32 minibatches, unrolls of 30 steps."""
CACHE = {"JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax")}
"""Where what was compiled is kept: Brax's training takes minutes to compile on a CPU."""


def on_one_core() -> None:
    """Leave the process one core, and its libraries the options that they come with."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


class Peer:
    """A process that trains one iteration when it is called."""

    def __init__(self, python, *command) -> None:
        pipe, environ = subprocess.PIPE, {**os.environ, **CACHE}
        self.process = subprocess.Popen(
            [python, *command], stdin=pipe, stdout=pipe, text=True, env=environ, preexec_fn=on_one_core
        )
        self.peak = 0
        """The most memory that it has taken so far, in bytes."""

    def __call__(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the process ended"
        self.peak = int(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


@pytest.mark.parametrize("id", ["CartpoleBalance", "CheetahRun"])
def test_ppo_brax(id, throughput, benchmark):
    """As many environment steps per second as Brax, and no more memory."""
    if not BRAX.exists():
        pytest.skip("Brax has an environment of its own: make .venv-brax/.done")
    spec = ROOT / "specs" / "playground" / f"ppo_{id.lower()}.toml"
    sizes = [f"env.num_envs={NUM_ENVS}", f"algorithm.unrolls={UNROLLS}", f"algorithm.epochs={EPOCHS}"]
    rest = ["env.num_threads=1", "run.compile=on", "run.env_steps=1_000_000_000"]
    ours = Peer(sys.executable, HERE / "slmk_peer.py", spec, *sizes, *rest)
    theirs = Peer(BRAX, HERE / "brax_peer.py", id, *map(str, (NUM_ENVS, BATCH_SIZE, EPOCHS)))
    try:
        ours(), theirs()  # Compile.
        benchmark.pedantic(ours, rounds=1)
        throughput(ours, theirs, rounds=3, at_least=1)
    finally:
        ours.close()
        theirs.close()
    memory = benchmark.extra_info["memory"] = ours.peak / theirs.peak
    assert memory <= 1
