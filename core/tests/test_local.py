"""Where the launcher `local` runs sessions side by side."""

import json
import os
import subprocess
import sys

import pytest

from slmk.builtin.local import places_for
from slmk.config import RunConfig


@pytest.mark.parametrize(("threads", "expected"), [(1, 4), (2, 2), (3, 1), (8, 1)])
def test_sessions_on_a_cpu_have_cores_of_their_own(threads, expected, monkeypatch):
    """Four cores have room for two sessions of two threads; one always runs."""
    monkeypatch.setattr("slmk.builtin.local.cores", lambda: 4)
    assert places_for(RunConfig(env_steps=1, threads=threads)) == [None] * expected


@pytest.mark.parametrize(
    ("device", "visible", "expected"),
    [("cuda", "4,7", ["4", "7"]), ("cuda", "", [None]), ("cuda:1", "4,7", [None]), ("cuda", None, ["0", "1", "2"])],
)
def test_sessions_on_gpus_have_one_each(device, visible, expected, monkeypatch):
    """Of those that are visible; one that the spec names is for one session at a time."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert places_for(RunConfig(env_steps=1, device=device)) == expected


TAKEN = """
import json, multiprocessing, os, sys
from pathlib import Path
from time import sleep
from unittest import mock

from slmk.builtin.local import _Pool
from slmk.cores import cores

folder, places, size = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])

def session(job, on_row):
    while job["seed"] == 0 and not (folder / "2").exists():
        sleep(0.01)
    (folder / str(job["seed"])).touch()
    return {"place": os.environ.get("CUDA_VISIBLE_DEVICES"), "cores": cores()}

affinity = mock.patch("os.sched_getaffinity", lambda process: set(range(8)))
with mock.patch("slmk.job.run_job", session), affinity:
    pool = _Pool([{"seed": seed} for seed in range(3)], lambda row: None, places, size, sharing=size)
    pool.context = multiprocessing.get_context("fork")  # Spawned ones would have no session but the real one.
    print(json.dumps([[summary["place"], summary["cores"]] for summary in pool.run()]))
"""
"""In a process of its own: one that has threads should not fork."""


def places_taken(places, size, folder):
    """What each of three sessions sees of CUDA devices and eight cores, where the first one ends last."""
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    command = [sys.executable, "-c", TAKEN, str(folder), json.dumps(places), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_session_waits_for_a_device_and_sees_no_other(tmp_path):
    """The third one gets that of the second, since the first still has its own. Two at a time have half the cores."""
    assert places_taken(["4", "7"], 2, tmp_path) == [["4", 4], ["7", 4], ["7", 4]]


def test_more_sessions_than_devices_share_them(tmp_path):
    """As many as `parallel` says run at a time, in turn on the devices."""
    assert places_taken(["4", "7"], 3, tmp_path) == [["4", 2], ["7", 2], ["4", 2]]


def test_sessions_on_a_cpu_are_told_nothing_of_devices(tmp_path):
    """The variable stays as it is."""
    assert places_taken([None, None], 2, tmp_path) == [[None, 4], [None, 4], [None, 4]]
