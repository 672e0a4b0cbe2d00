"""Recorded episodes come out of Minari as they were played, and nothing is left of a recording that failed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium import spaces
from minari import MinariDataset

from slmk import EnvInfo, RunError, recording
from slmk.batch import Step
from slmk.evaluation import play
from slmk.recording import Recording
from slmk.testing.probe import ACTION_SPACES, ProbeConfig, make_probe

ABOUT = {"algorithm_name": "test"}
CPU = torch.device("cpu")
GROUPS = {
    "robot/arm": spaces.Box(-np.inf, np.inf, (1,), np.float32),
    "robot/camera": spaces.Box(0, 255, (32, 32, 3), np.uint8),
    "mask": spaces.MultiBinary(2),
}
INFO = EnvInfo(2, GROUPS, spaces.Discrete(9), CPU)

FULL = """
import resource, sys
from pathlib import Path
import torch
from gymnasium import spaces
from slmk import EnvInfo, RunError
from slmk.batch import Step
from slmk.recording import Recording

resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
info = EnvInfo(1, {"obs": spaces.Box(-1, 1, (5000,))}, spaces.Discrete(2), torch.device("cpu"))
obs, yes, no = {"obs": torch.rand(1, 5000)}, torch.tensor([True]), torch.tensor([False])
written = 0
try:
    with Recording(Path(sys.argv[1]) / "full-v0", info, 200, {"algorithm_name": "test"}) as record:
        for _ in range(200):
            record.add(obs, torch.tensor([0]), Step(obs, obs, torch.zeros(1), yes, no))
            written += 1
except RunError as error:
    print(written, error)
"""


class Forgetful:
    """The recurrence of networks that remember nothing."""

    def start(self, obs):
        return obs

    def follow(self, obs, step):
        return step


def observation(first: float, second: float) -> dict[str, torch.Tensor]:
    """One of two environments, each told by a number; with what a recurrent network would bring along."""
    number = torch.tensor([first, second])
    return {
        "robot/arm": number.view(2, 1),
        "robot/camera": (number.view(2, 1, 1, 1) * torch.arange(32 * 32 * 3).view(32, 32, 3)).to(torch.uint8),
        "mask": torch.stack([number > 1, number < 1], -1),
        "carry/actor": torch.zeros(2, 4),
        "first": torch.tensor([True, True]),
    }


def add(record: Recording, before, after, final, action, terminated=(False, False), truncated=(False, False)) -> None:
    step = Step(
        observation(*after),
        observation(*final),
        torch.tensor([10.0 * a for a in action]),
        torch.tensor(terminated),
        torch.tensor(truncated),
    )
    record.add(observation(*before), torch.tensor(action), step)


@pytest.mark.parametrize("action", ACTION_SPACES)
def test_what_was_played_is_what_minari_reads(action, tmp_path):
    """Five episodes of four steps in three environments, for any action space: all that was seen, in order."""
    env = make_probe(ProbeConfig(num_envs=3, action=action), device=CPU, seed=0)
    env.info.action_space.seed(1)
    seen = []

    def policy(obs):
        return torch.tensor(np.stack([env.info.action_space.sample() for _ in range(3)]))

    def watch(obs, action, step):
        record.add(obs, action, step)
        seen.append((obs["state"], action, step))

    with Recording(tmp_path / "probe-v0", env.info, 5, ABOUT) as record:
        play(env, policy, Forgetful(), 5, seed=0, each_step=watch)
    dataset = MinariDataset(str(tmp_path / "probe-v0" / "data"))
    assert dataset.action_space == env.info.action_space
    assert dataset.observation_space == spaces.Dict(env.info.observation_spaces)
    assert (dataset.id, dataset.total_steps) == ("probe-v0", 20)
    # Environments end their episodes together: three after 4 steps, and the quotas 2, 2, 1 leave two after 8.
    for number, (index, start) in enumerate([(0, 0), (1, 0), (2, 0), (0, 4), (1, 4)]):
        episode, steps = dataset[number], seen[start : start + 4]
        state = [obs[index] for obs, _, _ in steps] + [steps[-1][2].final_obs["state"][index]]
        assert np.array_equal(episode.observations["state"], torch.stack(state))
        assert np.array_equal(episode.actions, torch.stack([a[index] for _, a, _ in steps]))
        assert np.array_equal(episode.rewards, torch.stack([s.reward[index] for _, _, s in steps]))
        assert episode.terminations.tolist() == [False] * 4
        assert episode.truncations.tolist() == [False, False, False, True]


def test_groups_ends_and_quotas_by_hand(tmp_path):
    """Nested groups, bits and pictures come out bit for bit; ends keep their kind; no episode beyond the quota."""
    with Recording(tmp_path / "hand-v0", INFO, 3, ABOUT) as record:
        add(record, (0, 5), (1, 6), (1, 6), (3, 4))
        add(record, (1, 6), (0, 7), (2, 7), (5, 6), terminated=(True, False))
        add(record, (0, 7), (0, 5), (1, 8), (7, 8), truncated=(True, True))
        add(record, (0, 5), (0, 5), (1, 9), (1, 1), truncated=(True, True))
    dataset = MinariDataset(str(tmp_path / "hand-v0" / "data"))
    assert dataset.total_episodes == 3
    space = dataset.observation_space
    assert space["robot"]["camera"] == GROUPS["robot/camera"]
    assert space["mask"] == GROUPS["mask"]
    found = [
        (
            e.observations["robot"]["arm"][:, 0].tolist(),
            e.actions.tolist(),
            e.rewards.tolist(),
            e.terminations.tolist(),
            e.truncations.tolist(),
        )
        for e in dataset
    ]
    assert found == [
        ([0, 1, 2], [3, 5], [30, 50], [False, True], [False, False]),
        ([0, 1], [7], [70], [False], [True]),
        ([5, 6, 7, 8], [4, 6, 8], [40, 60, 80], [False] * 3, [False, False, True]),
    ]
    last = dataset[0].observations
    assert last["mask"].tolist() == [[0, 1], [0, 0], [1, 0]]
    assert np.array_equal(last["robot"]["camera"][1], observation(1, 1)["robot/camera"][0])
    assert set(last) == {"robot", "mask"}


def test_a_single_group_is_stored_as_it_is(tmp_path):
    """The group `obs` alone is a Box, as Gymnasium's own environments have it; `first` and carries are left out."""
    info = EnvInfo(1, {"obs": spaces.Box(-1, 1, (1,))}, spaces.Discrete(2), CPU)
    yes, no = torch.tensor([True]), torch.tensor([False])
    obs, after = ({"obs": torch.tensor([[x]]), "first": yes} for x in (0.25, 0.5))
    with Recording(tmp_path / "box-v0", info, 1, ABOUT) as record:
        record.add(obs, torch.tensor([1]), Step(after, after, torch.ones(1), yes, no))
    assert MinariDataset(str(tmp_path / "box-v0" / "data"))[0].observations.tolist() == [[0.25], [0.5]]


def test_an_episode_without_end_is_cut_as_its_score_is(tmp_path, monkeypatch):
    """Where `play` stops counting, the episode is truncated, and its last observation is the one that follows."""
    monkeypatch.setattr(recording, "MAX_EPISODE_STEPS", 2)
    with Recording(tmp_path / "long-v0", INFO, 4, ABOUT) as record:
        for t in range(4):
            add(record, (t, t), (t + 1, t + 1), (-1, -1), (0, 0))
    dataset = MinariDataset(str(tmp_path / "long-v0" / "data"))
    assert len(dataset) == 2  # What follows has no beginning.
    episode = dataset[1]
    assert episode.observations["robot"]["arm"][:, 0].tolist() == [0, 1, 2]
    assert episode.truncations.tolist() == [False, True]


def test_nothing_is_left_of_a_recording_that_failed(tmp_path):
    """After an interruption there is neither a dataset nor a part of one, and the next attempt succeeds."""
    path = tmp_path / "broken-v0"

    def interrupted() -> None:
        with Recording(path, INFO, 2, ABOUT) as record:
            add(record, (0, 5), (1, 6), (1, 6), (3, 4), truncated=(True, False))
            assert list(tmp_path.glob(".*/data/*.hdf5"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with Recording(path, INFO, 2, ABOUT) as record:
        add(record, (0, 5), (1, 6), (1, 6), (3, 4), truncated=(True, True))
    assert [each.name for each in tmp_path.iterdir()] == ["broken-v0"]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot claim room")
def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path):
    """Where files may have no more than 3 MB, some episodes of 40 kB are written, and then it is said why no more are.

    In a process of its own, which HDF5 would end with a segmentation fault.
    """
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written, message = done.stdout.split(" ", 1)
    assert 10 < int(written) < 75
    assert f"cannot write the dataset {tmp_path / 'full-v0'}: [Errno {errno.EFBIG}]" in message
    assert list(tmp_path.iterdir()) == []


def test_what_h5py_cannot_flush_is_an_error(tmp_path, monkeypatch):
    """It raises a RuntimeError there, which is told like any other failure."""

    def refuse(self, episodes):
        raise RuntimeError("Unable to synchronously flush")

    monkeypatch.setattr("minari.dataset._storages.hdf5_storage.HDF5Storage.update_episodes", refuse)
    with (
        pytest.raises(RunError, match=r"cannot write the dataset .*/a-v0: Unable to synchronously flush"),
        Recording(tmp_path / "a-v0", INFO, 2, ABOUT) as record,
    ):
        add(record, (0, 5), (1, 6), (1, 6), (3, 4), truncated=(True, False))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(), (3,), (9, 96, 3, 3), (84, 84, 4), (5000,)])
@pytest.mark.parametrize("steps", [1, 4, 300])
def test_an_episode_takes_no_more_than_was_claimed(tmp_path, monkeypatch, shape, steps):
    """The file grows by less than the room that was seen to, however HDF5 cuts the episode into chunks."""
    claimed = []
    monkeypatch.setattr(os, "posix_fallocate", lambda file, start, size: claimed.append((start, start + size)), False)
    info = EnvInfo(1, {"obs": spaces.Box(-1, 1, shape)}, spaces.Discrete(2), CPU)
    obs = {"obs": torch.zeros(1, *shape)}
    no = torch.tensor([False])
    with Recording(tmp_path / "long-v0", info, 2, ABOUT) as record:
        for t in range(2 * steps):
            record.add(obs, torch.tensor([0]), Step(obs, obs, torch.zeros(1), no, torch.tensor([(t + 1) % steps == 0])))
    assert len(claimed) == 2
    written = sum(path.stat().st_size for path in (tmp_path / "long-v0" / "data").iterdir())
    assert claimed[0][1] >= claimed[1][0]
    assert claimed[1][1] >= written


def test_what_cannot_be_recorded_is_refused(tmp_path, monkeypatch):
    """An existing dataset, a name that Minari cannot read, an environment without last observations, no library."""
    (tmp_path / "there-v0").mkdir()
    with pytest.raises(RunError, match=r"there-v0 exists already, and a dataset is never written over"):
        Recording(tmp_path / "there-v0", INFO, 1, ABOUT).__enter__()
    with pytest.raises(RunError, match=r"'hopper' is no name for a Minari dataset: expected one such as hopper-v0"):
        Recording(tmp_path / "hopper", INFO, 1, ABOUT).__enter__()
    unknown = EnvInfo(1, GROUPS, spaces.Discrete(2), CPU, final_obs=False)
    with pytest.raises(RunError, match="does not tell the last observation"):
        Recording(tmp_path / "a-v0", unknown, 1, ABOUT).__enter__()
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write the dataset .*file/a-v0"):
        Recording(tmp_path / "file" / "a-v0", INFO, 1, ABOUT).__enter__()
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(RunError, match=r"pip install 'slmk\[demonstrations\]'"):
        Recording(tmp_path / "a-v0", INFO, 1, ABOUT).__enter__()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "there-v0"]
