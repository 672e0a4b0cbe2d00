"""Where the launcher `local` runs sessions side by side."""

import multiprocessing
import os
from time import sleep

import pytest

from slmk.builtin.local import _Pool, places_for
from slmk.config import RunConfig


@pytest.mark.parametrize(("threads", "expected"), [(1, 4), (2, 2), (3, 1), (8, 1)])
def test_sessions_on_a_cpu_have_cores_of_their_own(threads, expected, monkeypatch):
    """Four cores have room for two sessions of two threads; one always runs."""
    monkeypatch.setattr("slmk.builtin.local._cores", lambda: 4)
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


def places_taken(places, size, tmp_path, monkeypatch):
    """What each of three sessions sees of CUDA devices, where the first one ends last."""

    def session(job, on_row):
        while job["seed"] == 0 and not (tmp_path / "2").exists():
            sleep(0.01)
        (tmp_path / str(job["seed"])).touch()
        return {"place": os.environ.get("CUDA_VISIBLE_DEVICES")}

    monkeypatch.setattr("slmk.session.run_session", session)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pool = _Pool([{"seed": seed} for seed in range(3)], lambda row: None, places, size)
    pool.context = multiprocessing.get_context("fork")  # Spawned ones would have no session but the real one.
    return [summary["place"] for summary in pool.run()]


def test_a_session_waits_for_a_device_and_sees_no_other(tmp_path, monkeypatch):
    """The third one gets that of the second, since the first still has its own."""
    assert places_taken(["4", "7"], 2, tmp_path, monkeypatch) == ["4", "7", "7"]


def test_more_sessions_than_devices_share_them(tmp_path, monkeypatch):
    """As many as `parallel` says run at a time, in turn on the devices."""
    assert places_taken(["4", "7"], 3, tmp_path, monkeypatch) == ["4", "7", "4"]


def test_sessions_on_a_cpu_are_told_nothing_of_devices(tmp_path, monkeypatch):
    """The variable stays as it is."""
    assert places_taken([None, None], 2, tmp_path, monkeypatch) == [None, None, None]
