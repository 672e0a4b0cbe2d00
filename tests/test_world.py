"""Several processes that train together: two, over gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

import slmk
from slmk import RunError, SpecError, world
from slmk.registry import get_registry
from slmk.streams import Streams

MEMBER = Path(__file__).with_name("world_member.py")
TRAININGS = Path(__file__).with_name("world_trainings.py")
SPECS = Path(__file__).parent.parent / "specs"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
TRAINED = (
    "classic/reinforce_cartpole",
    "classic/sarsa_cartpole",
    "classic/a2c_cartpole",
    "classic/ppo_cartpole",
    "classic/ppo_gru_cartpole_positions",
    "classic/sil_cartpole",
    "classic/dqn_cartpole",
    "classic/ddqn_per_cartpole",
    "classic/dqn_gru_cartpole_positions",
    "classic/sac_cartpole",
    "classic/sac_gru_pendulum_positions",
    "classic/crossq_pendulum",
    "classic/rlpd_acrobot",
    "envpool/ppo_cheetahrun_laptop",
)
"""A spec for every algorithm that learns, and for every way of learning from a memory."""


@pytest.fixture(scope="module")
def told(once) -> dict[str, Any]:
    """What each of two processes found, by rank, and what one alone found."""

    def ask(folder: Path) -> None:
        for start in (TORCHRUN, ()):
            done = subprocess.run(
                [sys.executable, *start, str(MEMBER), str(folder)], capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, done.stderr[-4000:]

    return {path.stem: json.loads(path.read_text()) for path in once("world", ask).iterdir()}


def test_two_processes_learn_what_one_learns_from_all_samples(told):
    """Parameters, targets, buffers and statistics are equal in both, and those of one process with twice the samples;
    so are whole algorithms, where one process has twice the environments."""
    first, second, alone = (told[name]["everything"] for name in ("0", "1", "alone"))
    assert first == second
    assert alone.keys() == first.keys()
    for name, part in alone.items():
        for key, expected in part.items():
            assert first[name][key] == pytest.approx(expected, rel=1e-5, abs=1e-6), f"{name}/{key}"


def test_processes_agree(told):
    """Means, samples, flags, values and names are shared as their functions say."""
    common = [[5.0, 6.0, 7.0], [[0.0, 0.0], [1.0, 1.0]], True, False, {"from": 0}, ["both"]]
    assert [told[str(rank)]["agreements"] for rank in (0, 1)] == [[2, rank, *common] for rank in (0, 1)]


def test_a_process_that_ends_is_missed(told):
    """The other says that one has ended, before gloo's words."""
    said = told["0"]["alone"]
    assert said.startswith("another process of this run has ended: what it said is the reason (")
    assert "Connection closed by peer" in said


def test_other_failures_are_told_as_they_are():
    """NCCL's reason is in its last line; torch's own calls behind it are left out."""
    reason = "invalid usage\nncclInvalidUsage: Last error:\nDuplicate GPU detected : rank 1 and rank 0"
    with pytest.raises(RunError) as caught, world._together():
        raise RuntimeError(f"NCCL error: {reason}\nException raised from create at NCCLUtils.cpp:77\nframe #0: c10")
    told = "NCCL error: invalid usage ncclInvalidUsage: Last error: Duplicate GPU detected : rank 1 and rank 0"
    assert str(caught.value) == f"the processes of this run cannot go on together: {told}"


@pytest.mark.parametrize(("nccl", "failed", "leaves"), [(False, True, True), (True, True, False), (True, False, True)])
def test_after_an_error_nobody_waits_for_nccl(nccl, failed, leaves, monkeypatch):
    """A process that failed stays in a world with NCCL, whose leave-taking the others would never answer."""
    left = []
    monkeypatch.setattr(world, "size", lambda: 2)
    monkeypatch.setattr(distributed, "get_backend_config", lambda: "cpu:gloo,cuda:nccl" if nccl else "cpu:gloo")
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: left.append(True))
    world.leave(failed=failed)
    assert bool(left) == leaves


WAITING = """
import atexit, sys, time
import torch
from torch import distributed
from slmk import trial, world
from slmk.cli import main

def fails(*_, **__):
    if world.told(world.rank()) == world.rank():
        raise ValueError("a fault")
    world.average(torch.zeros(1))

def waits():
    time.sleep(200)

trial._begin, trial._held, world._has_nccl = (lambda *_: None), fails, lambda: True
distributed.destroy_process_group = waits
atexit.register(waits)
sys.exit(main(["run", *sys.argv[1:]]))
"""
"""As if there were NCCL: the first process fails while the second waits for it, and neither parting nor Python's end
comes to an end."""


def test_an_error_of_one_process_is_shown_and_ends_all(tmp_path):
    """The process does not part from the others, nor wait for what Python does at its end."""
    program = tmp_path / "waiting.py"
    program.write_text(WAITING)
    command = [sys.executable, *TORCHRUN, str(program), str(SPECS / "classic" / "ppo_cartpole.toml"), "--out"]
    done = subprocess.run([*command, str(tmp_path / "runs")], capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "ValueError: a fault" in done.stderr


@pytest.fixture(scope="module")
def trained(once) -> dict[str, dict[str, float]]:
    """How far two processes are apart after some updates, by spec."""

    def train(folder: Path) -> None:
        paths = [str(SPECS / f"{name}.toml") for name in TRAINED]
        command = [sys.executable, *TORCHRUN, str(TRAININGS), str(folder / "apart.json"), *paths]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-4000:]

    return json.loads((once("world-trainings", train) / "apart.json").read_text())


@pytest.mark.parametrize("name", TRAINED)
def test_every_algorithm_learns_the_same_in_all_processes(name, trained):
    """Parameters and statistics are equal, bit for bit, though each process sees episodes of its own."""
    apart = trained[str(SPECS / f"{name}.toml")]
    assert apart["updates"] >= 6
    assert apart["learned"] == 0
    assert apart["seen"] > 0


def test_every_algorithm_that_learns_is_among_them():
    """A new one has to be added."""
    algorithms = {slmk.load(SPECS / f"{name}.toml").algorithm.component.name for name in TRAINED}
    ours = {row.name for row in get_registry().rows() if row.distribution.startswith("slmk-algo-")}
    assert algorithms == ours - {"random"}


def test_alone_nothing_happens():
    """Without a world: one process, and values as they were."""
    x = torch.ones(2)
    world.average(x)
    assert (world.size(), world.rank()) == (1, 0)
    assert x.tolist() == [1, 1]
    assert world.gathered(x) is x
    assert world.any_of(True)
    assert not world.any_of(False)
    assert world.told("me") == "me"
    assert world.in_all(["a", "b"]) == {"a", "b"}


def test_what_torchrun_announces():
    """Only its own variables count: others, such as SLURM's, may set WORLD_SIZE too."""
    assert world.announced({}) == 1
    assert world.announced({"WORLD_SIZE": "8"}) == 1
    assert world.announced({"WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "none"}) == 8


@pytest.mark.parametrize(("visible", "expected"), [(None, "1"), ("4,7", "7"), ("GPU-a", "GPU-a"), ("", "")])
def test_a_process_claims_one_device(visible, expected, monkeypatch):
    """The local rank counts among the visible ones; where all are hidden, they stay so."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    world.claim_device("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == expected


def test_processes_do_not_share_a_cuda_device(monkeypatch):
    """NCCL refuses it, in words of its own; so the spec is refused before anybody meets."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with pytest.raises(SpecError) as caught:
        world.claim_device("cuda")
    (problem,) = caught.value.problems
    assert (problem.path, problem.expected, problem.found) == (
        "run.device",
        "2 on this machine, or fewer",
        "3 processes",
    )
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    world.claim_device("cuda")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"


def test_streams_differ_by_rank_but_for_the_common_ones():
    """The first process has the streams of a run without a world."""
    seeds = [Streams(7, rank).integer("env") for rank in range(3)]
    assert len(set(seeds)) == 3
    assert seeds[0] == Streams(7).integer("env")
    assert {Streams(7, rank).common.integer("init/actor") for rank in range(3)} == {Streams(7).integer("init/actor")}
