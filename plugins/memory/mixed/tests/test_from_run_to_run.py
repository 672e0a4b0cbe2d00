"""Demonstrations that one run makes and the next one trains with, through the commands that a person would use."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from minari import MinariDataset

import slmk
from slmk import trial
from slmk.cli import cli
from slmk.loop import iterate
from slmk.session import Session
from slmk.state import get_state
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import first_difference

ENV = {"name": "gymnasium", "id": "Pendulum-v1", "num_envs": 2, "vectorization": "sync"}
FIRST_RUN = {
    "name": "teacher",
    "run": {"env_steps": 64, "eval_episodes": 1},
    "env": ENV,
    "algorithm": {"name": "random"},
}


def pupil(demonstrations: Path) -> dict[str, Any]:
    """RLPD with small networks, half of whose batches are demonstrations."""
    network = {"name": "mlp", "hidden": [8]}
    return {
        "name": "pupil",
        "run": {"env_steps": 1000, "compile": "off"},
        "env": ENV,
        "algorithm": {"name": "rlpd", "learning_starts": 20, "batch_size": 16, "utd_ratio": 1.0, "critics": 2},
        "memory": {"name": "mixed", "capacity": 500, "demonstrations": str(demonstrations)},
        "network": {"actor": network, "critic": network},
    }


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> Path:
    return trial.run(FIRST_RUN, out=tmp_path_factory.mktemp("runs")).directory


@pytest.fixture(scope="module")
def demos(teacher, tmp_path_factory) -> Path:
    """Three recorded episodes of the random policy."""
    path = tmp_path_factory.mktemp("demos") / "pendulum" / "random-v0"
    done = CliRunner().invoke(cli, ["eval", str(teacher), "--episodes", "3", "--record", str(path)])
    assert done.exit_code == 0, done.output
    assert f"demonstrations: {path}" in done.output
    return path


def advance(run: Session, iterations: int) -> Session:
    for _ in islice(iterate(run), iterations):
        pass
    return run


def state(run: Session) -> dict[str, Any]:
    return {name: value for name, value in through_a_file(get_state(run)).items() if name != "seconds"}


def test_recording_changes_no_score(teacher, tmp_path) -> None:
    """The episodes recorded are those scored: mean and spread of their returns are what the command prints."""
    path = tmp_path / "pendulum-v0"
    words = ["eval", str(teacher), "--episodes", "18"]
    recorded = CliRunner().invoke(cli, [*words, "--record", str(path)]).output.splitlines()
    assert recorded[0] == CliRunner().invoke(cli, words).output.strip()
    dataset = MinariDataset(str(path / "data"))
    returns = torch.tensor([episode.rewards.sum(dtype="float64") for episode in dataset])
    assert f"return {returns.mean():.2f} ± {returns.std(correction=0):.2f} over 18 episodes" in recorded[0]
    assert all(episode.truncations.tolist() == [False] * 199 + [True] for episode in dataset)
    again = CliRunner().invoke(cli, [*words, "--record", str(path)])
    assert again.exit_code == 1
    assert MinariDataset(str(path / "data")).total_episodes == 18


def test_a_run_with_demonstrations_resumes_exactly(demos) -> None:
    """Whether 40 iterations or 20, a checkpoint and 20: parameters, memory and random streams are the same."""
    blueprint = slmk.load(pupil(demos))
    straight, first, second = (Session(blueprint, seed=0) for _ in range(3))
    advance(straight, 40)
    second.load_state_dict(through_a_file(get_state(advance(first, 20))))
    assert straight.updates == 60
    assert state(straight)["memory"]["demonstrations"]["transitions"] == 600
    assert first_difference(state(straight), state(advance(second, 20))) is None
    for run in (straight, first, second):
        run.close()


def test_a_recurrent_actor_learns_from_demonstrations(demos) -> None:
    """Sequences of both kinds train a network that remembers, with finite metrics."""
    spec = pupil(demos)
    spec["network"]["actor"] = {"name": "recurrent"}
    spec["memory"] |= {"sequence": 4, "burn_in": 2}
    run = Session(slmk.load(spec), seed=0)
    rows = [row for row in islice(iterate(run), 25) if row]
    run.close()
    assert run.updates == 30
    assert {"loss/actor", "loss/critic"} <= {name for row in rows for name in row}
    assert all(torch.isfinite(value) for row in rows for value in row.values())


def test_demonstrations_of_another_environment_leave_nothing(demos, tmp_path) -> None:
    """A run whose environment has other spaces ends before it starts, with both spaces in the message."""
    spec = pupil(demos)
    spec["env"] = {"name": "gymnasium", "id": "MountainCarContinuous-v0"}
    with pytest.raises(slmk.SpecError, match=r"memory\.demonstrations: .*other observations.*\(2,\).*\(3,\)"):
        trial.run(spec, out=tmp_path)
    assert not list(tmp_path.rglob("*.toml"))


def test_demonstrations_are_played_as_the_run_trains(tmp_path) -> None:
    """What EnvPool is told to reward otherwise in evaluation is recorded so, and refused; recorded alike, it is taken.

    The policy of the run that trains with them can be evaluated under any options.
    """
    env = {"name": "envpool", "id": "Hopper-v5", "num_threads": 1, "evaluation_options": {"healthy_reward": 0.0}}
    directory = trial.run(FIRST_RUN | {"env": env}, out=tmp_path / "runs").directory
    spec = pupil(tmp_path / "plain-v0") | {"env": env}
    spec["run"] |= {"env_steps": 40, "eval_episodes": 1}
    for name, words in (("plain-v0", []), ("alike-v0", ["-s", "env.evaluation_options={}"])):
        words = [str(directory), "--episodes", "2", "--record", str(tmp_path / name), *words]
        done = CliRunner().invoke(cli, ["eval", *words])
        assert done.exit_code == 0, done.output
    with pytest.raises(slmk.SpecError) as caught:
        trial.run(spec, out=tmp_path)
    (problem,) = caught.value.problems
    assert problem.path == "memory.demonstrations"
    assert (problem.expected, problem.found) == ("env.options = {}", "{'healthy_reward': 0.0}")
    assert "-s 'env.evaluation_options={}'" in problem.hint
    spec["memory"]["demonstrations"] = str(tmp_path / "alike-v0")
    directory = trial.run(spec, out=tmp_path / "runs").directory
    done = CliRunner().invoke(cli, ["eval", str(directory), "--episodes", "1", "-s", "env.options={ frame_skip = 2 }"])
    assert done.exit_code == 0, done.output


def test_a_policy_is_evaluated_without_its_demonstrations(demos, tmp_path) -> None:
    """Once trained, a run is scored where the dataset is no more; to resume it, the dataset has to be there."""
    moved = tmp_path / "moved-v0"
    spec = pupil(copytree(demos, moved))
    spec["run"] |= {"env_steps": 40, "eval_episodes": 1}
    directory = trial.run(spec, out=tmp_path / "runs").directory
    rmtree(moved)
    done = CliRunner().invoke(cli, ["eval", str(directory), "--episodes", "1"])
    assert done.exit_code == 0, done.output
    (directory / "seed-0" / "summary.json").unlink()
    checkpoints = sorted(directory.rglob("state.safetensors"))
    with pytest.raises(slmk.SpecError, match=r"memory\.demonstrations: no such Minari dataset"):
        trial.resume(directory)
    assert sorted(directory.rglob("state.safetensors")) == checkpoints
