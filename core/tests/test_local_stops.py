"""How sessions that run side by side end: by signals, by an error of the process that waits for them, or without it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

POOL = """
import json, os, sys
from pathlib import Path
from time import sleep

import slmk.job
from slmk import RunError
from slmk.builtin.local import _Pool
from slmk.logs import configure
from slmk.job import _signals

folder, size, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

def session(job, on_row):
    (folder / f"{job['seed']}.begun").write_text(str(os.getpid()))
    with _signals() as caught:
        while not caught:
            sleep(0.01)
            on_row({})
        for _ in range(10_000 if kind == "long" else 15):  # What is under way goes on for a while, and reports.
            sleep(0.1)
            on_row({})
        (folder / f"{job['seed']}.saved").touch()
    return {"seed": job["seed"]}

def on_row(row):
    if kind == "error" and all((folder / f"{seed}.begun").exists() for seed in range(2)):
        raise RunError("no room for rows")

slmk.job.run_job = session  # In spawned processes, too: they import this file.
if __name__ == "__main__":
    configure()
    jobs = [{"seed": seed} for seed in range(2)]
    print(json.dumps(_Pool(jobs, on_row, [None] * size, size, sharing=size).run()))
"""
"""A program. Its sessions end a second and a half after a signal, at the end of their budget; long ones never."""


class Pool:
    """Two sessions, `size` of them at a time."""

    def __init__(self, folder, size, kind="short"):
        self.folder = folder
        program = folder / "pool.py"
        program.write_text(POOL)
        command = [sys.executable, str(program), str(folder), str(size), kind]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for(self, *names):
        deadline = time.monotonic() + 60
        while not all((self.folder / name).exists() and self.content(name) is not None for name in names):
            assert time.monotonic() < deadline, self.process.poll()
            time.sleep(0.02)

    def content(self, name):
        """That of a file, once it has some or needs none."""
        text = (self.folder / name).read_text()
        return text if text or name.endswith("saved") else None

    def signal_session(self, seed, number):
        os.kill(int(self.content(f"{seed}.begun")), number)


@pytest.fixture
def start(tmp_path):
    pools = []

    def start_pool(size, kind="short"):
        pools.append(Pool(tmp_path, size, kind))
        return pools[-1]

    yield start_pool
    for pool in pools:
        pool.process.kill()
        pool.process.communicate()


def test_sessions_that_are_signalled_by_others_too_still_save(start):
    """A service manager signals all processes, and the parent passes that on: for a session these are one request."""
    pool = start(2)
    pool.wait_for("0.begun", "1.begun")
    for seed in (0, 1):
        pool.signal_session(seed, signal.SIGTERM)
    pool.process.send_signal(signal.SIGTERM)
    out, errors = pool.process.communicate(timeout=60)
    assert json.loads(out) == [{"seed": 0}, {"seed": 1}], errors
    pool.wait_for("0.saved", "1.saved")


def test_sessions_whose_parent_is_gone_save(start):
    """Each row that they cannot send any more is no further signal."""
    pool = start(2)
    pool.wait_for("0.begun", "1.begun")
    pool.process.kill()
    pool.wait_for("0.saved", "1.saved")
    assert pool.process.wait() == -signal.SIGKILL


def test_a_second_signal_ends_sessions_at_once(start):
    """Also those that take any number of signals as one request."""
    pool = start(2, "long")
    pool.wait_for("0.begun", "1.begun")
    pool.process.send_signal(signal.SIGINT)
    assert "stopping after this iteration" in pool.process.stderr.readline()
    pool.process.send_signal(signal.SIGINT)
    out, errors = pool.process.communicate(timeout=60)
    assert json.loads(out) == [{"interrupted": signal.SIGINT}] * 2, errors
    assert not list(Path(pool.folder).glob("*.saved"))


def test_a_session_that_never_began_was_interrupted(start):
    """The signal comes while the first one is at its end, so that there is no other trace of it."""
    pool = start(1)
    pool.wait_for("0.begun")
    pool.process.send_signal(signal.SIGINT)
    out, errors = pool.process.communicate(timeout=60)
    assert json.loads(out) == [{"seed": 0}, {"interrupted": signal.SIGINT}], errors


def test_an_error_of_who_takes_the_rows_stops_the_sessions(start):
    """They save, and the error passes on when all have ended."""
    pool = start(2, "error")
    _, errors = pool.process.communicate(timeout=60)
    assert errors.endswith("slmk.errors.RunError: no room for rows\n")
    assert {path.name for path in pool.folder.glob("*.saved")} == {"0.saved", "1.saved"}
