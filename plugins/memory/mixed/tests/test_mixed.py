"""Symmetric sampling by hand: how many of each kind, what they hold, and what a checkpoint knows of demonstrations."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from gymnasium import spaces

from slmk import Act, CheckpointError, EnvConfig, EnvInfo, Sample, Step
from slmk.state import get_state, set_state
from slmk.testing.checkpoints import through_a_file
from slmk_memory_mixed import MixedConfig
from slmk_memory_mixed.mixed import Mixed
from slmk_memory_replay import ReplayConfig

INFO = EnvInfo(2, {"obs": spaces.Box(-1, 1, (1,))}, spaces.Discrete(2), torch.device("cpu"))


@pytest.fixture
def demos(tmp_path, letters) -> Path:
    """Steps 1 to 3 terminate, 4 and 5 are cut, and 6 and 7 were recorded of an episode that went on."""
    return letters(tmp_path / "demos-v0", "..t", ".c", "..", start=1)


def build(demos: Path, seed: int = 0, env: EnvInfo = INFO, **options: object) -> Mixed:
    config = MixedConfig(demonstrations=str(demos), **{"capacity": 100, **options})
    return Mixed(config, env, 1, torch.Generator().manual_seed(seed))


def add(memory: Mixed, steps: int, start: int = 1, recurrent: bool = False) -> None:
    """Steps of two environments, whose observations and rewards are 100 and more."""
    for t in range(start, start + steps):
        obs, after = (_obs(u, recurrent) for u in (t, t + 1))
        no = torch.zeros(2, dtype=torch.bool)
        act = Act(torch.tensor([0, 1]), {"log_prob": torch.zeros(2)})
        memory.add(obs, act, Step(after, after, torch.full((2,), 100.0 + t), no, no))


def _obs(t: int, recurrent: bool) -> dict[str, torch.Tensor]:
    obs = {"obs": torch.full((2, 1), 100.0 + t)}
    return (
        obs | {"carry/actor": torch.full((2, 3), float(t)), "first": torch.tensor([t == 1] * 2)} if recurrent else obs
    )


def of_demonstrations(sample: Sample) -> torch.Tensor:
    """Which samples are demonstrations: those have rewards below 0."""
    return (sample.reward if sample.reward.dim() == 1 else sample.reward[0]) < 0


@pytest.mark.parametrize(
    ("share", "batch_size", "expected"),
    [(0.5, 256, 128), (0.25, 6, 2), (0.5, 5, 2), (0.1, 4, 0), (0.9, 10, 9), (1.0, 7, 7), (0.0, 8, 0)],
)
def test_every_batch_has_its_share_of_demonstrations(demos, share, batch_size, expected) -> None:
    """Of B samples exactly round(share · B) are demonstrations, which come last; 1.5 rounds to 2, and so does 2.5."""
    memory = build(demos, share=share, capacity=1000)
    add(memory, 9)
    for _ in range(20):
        sample = memory.sample(batch_size)
        assert of_demonstrations(sample).tolist() == [False] * (batch_size - expected) + [True] * expected
        assert torch.equal(sample.index < 0, of_demonstrations(sample))


def test_each_demonstration_is_as_likely_as_another(demos) -> None:
    """Of 7 transitions in 7000 draws each comes 1000 times: chi-square with 6 degrees below its 1e-5 quantile."""
    memory = build(demos, share=1.0, capacity=7000)
    add(memory, 1)
    counts = torch.bincount(-memory.sample(7000).reward.long(), minlength=8)[1:].double()
    assert ((counts - 1000).square() / 1000).sum() < 33.1


def rows(sample: Sample) -> dict[float, tuple[float, ...]]:
    """Observation, action, discount, next observation, terminated and truncated of each demonstration, by its index."""
    kept = of_demonstrations(sample)
    columns = (
        sample.obs["obs"][:, 0],
        sample.action,
        sample.reward,
        sample.discount,
        sample.next_obs["obs"][:, 0],
        sample.terminated,
        sample.truncated,
    )
    values = zip(*(x[kept].tolist() for x in columns), strict=True)
    return dict(zip((-1 - sample.index[kept]).tolist(), values, strict=True))


def test_demonstrations_come_out_as_they_were_recorded(demos) -> None:
    """Each with the observation after it, the last one of its episode too; the two kinds of end are told apart."""
    memory = build(demos)
    add(memory, 3)
    assert rows(memory.sample(100, gamma=0.5)) == {
        0: (-1, 1, -1, 0.5, -2, False, False),
        1: (-2, 0, -2, 0.5, -3, False, False),
        2: (-3, 1, -3, 0.5, 1003, True, False),
        3: (-4, 0, -4, 0.5, -5, False, False),
        4: (-5, 1, -5, 0.5, 1005, False, True),
        5: (-6, 0, -6, 0.5, -7, False, False),
        6: (-7, 1, -7, 0.5, 1007, False, False),
    }


def test_several_steps_stay_within_a_demonstration(demos) -> None:
    """γ = 0.5 and two steps: sums and discounts stop with the episode, whichever way it ended."""
    memory = build(demos)
    add(memory, 3)
    assert rows(memory.sample(100, gamma=0.5, n_step=2)) == {
        0: (-1, 1, -1 - 1, 0.25, -3, False, False),
        1: (-2, 0, -2 - 1.5, 0.25, 1003, True, False),
        2: (-3, 1, -3, 0.5, 1003, True, False),
        3: (-4, 0, -4 - 2.5, 0.25, 1005, False, True),
        4: (-5, 1, -5, 0.5, 1005, False, True),
        5: (-6, 0, -6 - 3.5, 0.25, 1007, False, False),
        6: (-7, 1, -7, 0.5, 1007, False, False),
    }


def test_the_run_waits_for_its_own_experience(demos) -> None:
    """The length counts the run's own transitions, and without any there is no batch, demonstrations or not."""
    memory = build(demos, share=1.0)
    assert len(memory) == 0
    with pytest.raises(ValueError, match="no step was added"):
        memory.sample(4)
    add(memory, 3)
    assert len(memory) == 6


def test_sequences_of_both_kinds_begin_with_what_is_remembered(demos) -> None:
    """Two steps after one of burn-in: a demonstration is as the beginning of an episode, but counts from there only if
    it is one.
    """
    memory = build(demos, sequence=2, burn_in=1)
    add(memory, 5, recurrent=True)
    sample = memory.sample(60, gamma=0.9)
    assert sample.reward.shape == sample.weight.shape == sample.obs["first"].shape == (3, 60)
    assert sample.obs["carry/actor"].shape == sample.next_obs["carry/actor"].shape == (60, 3)
    is_demonstration = of_demonstrations(sample)
    assert is_demonstration.sum() == 30
    assert torch.equal(sample.obs["carry/actor"][:30, 0], sample.reward[0, :30] - 100)
    assert torch.equal(sample.obs["carry/actor"][30:], torch.zeros(30, 3))
    found = {
        -1 - int(sample.index[k]): (sample.reward[:, k].tolist(), sample.weight[:, k].tolist()) for k in range(30, 60)
    }
    expected = {
        0: ([-1, -2, -3], [1, 1, 1]),
        1: ([-2, -3, -3], [0, 1, 0]),
        2: ([-3, -3, -3], [0, 0, 0]),
        3: ([-4, -5, -5], [1, 1, 0]),
        4: ([-5, -5, -5], [0, 0, 0]),
        5: ([-6, -7, -7], [1, 1, 0]),
        6: ([-7, -7, -7], [0, 0, 0]),
    }
    assert found == {index: expected[index] for index in found}
    assert len(found) >= 5
    assert torch.equal(sample.obs["first"][0, :30], sample.reward[0, :30] == 101)
    assert sample.obs["first"][0, 30:].all()
    assert not sample.obs["first"][1:].any()


def test_single_transitions_of_both_kinds_begin_with_what_is_remembered(demos) -> None:
    """The same without sequences: a demonstration is as the beginning of an episode."""
    memory = build(demos)
    add(memory, 5, recurrent=True)
    sample = memory.sample(8)
    assert torch.equal(sample.obs["carry/actor"][:4, 0], sample.reward[:4] - 100)
    assert torch.equal(sample.obs["carry/actor"][4:], torch.zeros(4, 3))
    assert sample.obs["first"][4:].all()


def test_a_resumed_memory_draws_the_same(demos) -> None:
    """After a resume batches are the same bit for bit, and the state has the run's own transitions alone."""
    memory, other = build(demos), build(demos, seed=9)
    add(memory, 60)
    memory.sample(10)
    state = through_a_file(get_state(memory))
    set_state(other, state)
    assert state["demonstrations"]["transitions"] == 7
    assert len(state["online"]["ring"]["columns"]["reward"]) == 102
    for start in range(61, 64):
        samples = []
        for each in (memory, other):
            add(each, 1, start)
            samples.append(each.sample(20, gamma=0.9, n_step=3))
        assert torch.equal(samples[0].index, samples[1].index)
        assert torch.equal(samples[0].reward, samples[1].reward)
        assert torch.equal(samples[0].next_obs["obs"], samples[1].next_obs["obs"])


def test_a_resume_with_other_demonstrations_is_refused(demos, tmp_path, letters) -> None:
    """Neither other numbers nor other ends of as many steps pass for those that the run began with."""
    memory = build(demos)
    add(memory, 3)
    state = through_a_file(get_state(memory))
    shifted = letters(tmp_path / "shifted-v0", "..t", ".c", "..", start=2)
    ended = letters(tmp_path / "ended-v0", "..t", ".t", "..", start=1)
    for path in (shifted, ended):
        other = build(path)
        with pytest.raises(CheckpointError, match=r"made with 7 demonstrations \(sha256 \w{12}\), but .* has 7"):
            set_state(other, state)
        assert len(other) == 0


def test_stacks_of_pictures_are_whole_in_demonstrations(tmp_path, write) -> None:
    """With `frame_stack` the run's stacks are kept frame by frame, and demonstrations come out as they are."""
    import numpy as np

    space = spaces.Box(0, 255, (2, 1, 1), np.uint8)
    episode = {
        "observations": np.array([[7, 8], [8, 9]], np.uint8).reshape(2, 2, 1, 1),
        "actions": np.array([1]),
        "rewards": np.array([-1.0]),
        "terminations": np.array([True]),
        "truncations": np.array([False]),
    }
    path = write(tmp_path / "stacks-v0", space, spaces.Discrete(2), episode)
    memory = build(path, env=EnvInfo(1, {"obs": space}, spaces.Discrete(2), torch.device("cpu")), frame_stack=2)
    obs, after = ({"obs": torch.tensor(x, dtype=torch.uint8).view(1, 2, 1, 1)} for x in ([1, 2], [2, 3]))
    no = torch.tensor([False])
    memory.add(obs, Act(torch.tensor([0])), Step(after, after, torch.ones(1), no, no))
    sample = memory.sample(2)
    assert sample.obs["obs"].flatten(1).tolist() == [[1, 2], [7, 8]]
    assert sample.next_obs["obs"].flatten(1).tolist() == [[2, 3], [8, 9]]
    assert sample.obs["obs"].dtype == torch.uint8


@pytest.mark.parametrize("storage", ["device", "cpu", "disk"])
def test_storages_hold_the_same(demos, storage) -> None:
    """Wherever transitions are kept, the same demonstrations come out."""
    memory = build(demos, storage=storage)
    add(memory, 3)
    reference = build(demos)
    add(reference, 3)
    assert rows(memory.sample(50)) == rows(reference.sample(50))


@pytest.mark.parametrize(
    ("options", "scale", "expected"),
    [
        ({"capacity": 64}, 1.0, []),
        ({"capacity": 10}, 1.0, [("capacity", "10 transitions are fewer than the algorithm's batch of 64")]),
        (
            {},
            0.1,
            [
                (
                    "demonstrations",
                    "their rewards are the environment's own, those of the run are multiplied by 0.1: "
                    "set env.reward_scale to 1",
                )
            ],
        ),
    ],
)
def test_problems_are_found_in_the_spec(options, scale, expected) -> None:
    """Rewards on another scale, and what a replay objects to; the dataset need not be there, as for an evaluation."""
    spec = {"env": EnvConfig(reward_scale=scale), "algorithm": SimpleNamespace(batch_size=64)}
    assert list(MixedConfig(demonstrations="nowhere-v0", **options).problems(spec)) == expected


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.0, None),
        (0.015, "no sample of a batch of 32 would be a demonstration: the least share that gives one is 0.03125"),
        (0.016, None),
        (0.984, None),
        (
            0.985,
            "all samples of a batch of 32 would be demonstrations: the largest share that leaves others is 0.96875",
        ),
        (1.0, None),
    ],
)
def test_a_share_without_effect_is_a_problem(share, expected) -> None:
    """Half a sample of 32 is 0.015625: what rounds to none, or to all, is not what a share between 0 and 1 says."""
    spec = {"env": EnvConfig(), "algorithm": SimpleNamespace(batch_size=32)}
    problems = list(MixedConfig(demonstrations="nowhere-v0", share=share).problems(spec))
    assert problems == ([] if expected is None else [("share", expected)])


def test_a_dataset_is_found_by_its_id(tmp_path, letters, monkeypatch) -> None:
    """An id is looked up below Minari's root; a folder of the same name in the working directory comes first.

    The folder `data` will do as well.
    """
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    letters(tmp_path / "root" / "toys" / "steps-v0", "..t")
    memory = build(Path("toys/steps-v0"))
    assert get_state(memory)["demonstrations"]["transitions"] == 3
    letters(tmp_path / "toys" / "steps-v0", "..t", ".c")
    assert get_state(build(Path("toys/steps-v0")))["demonstrations"]["transitions"] == 5
    assert get_state(build(Path("toys/steps-v0/data")))["demonstrations"]["transitions"] == 5


def test_the_options_are_those_of_a_replay_and_two_more() -> None:
    """Every option of a replay is there, and which demonstrations and how many of them besides."""
    assert set(MixedConfig.model_fields) - set(ReplayConfig.model_fields) == {"demonstrations", "share"}
    assert MixedConfig(demonstrations="x").share == 0.5
