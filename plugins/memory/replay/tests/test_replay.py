"""The replay by hand: n-step sums, the write head, sequences, dtypes, sizes, and what is refused."""

from __future__ import annotations

import errno
import os
import tempfile
from types import SimpleNamespace

import pytest
import torch
from gymnasium import spaces

from slmk import Act, CheckpointError, EnvInfo, RunError, Sample, SpecError, Step
from slmk.state import get_state, set_state
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import first_difference
from slmk_memory_replay import Replay, ReplayConfig


def info(num_envs: int = 1, **groups: spaces.Space) -> EnvInfo:
    groups = groups or {"obs": spaces.Box(-1, 1, (1,))}
    return EnvInfo(num_envs, groups, spaces.Discrete(2), torch.device("cpu"))


def build(capacity: int = 8, env: EnvInfo | None = None, **options: object) -> Replay:
    return Replay(ReplayConfig(capacity=capacity, **options), env or info(), 1, torch.Generator().manual_seed(0))


def add(memory: Replay, ends: str) -> None:
    """One environment, a step for each letter: ``t`` terminates, ``c`` cuts the episode, ``.`` goes on.

    Step i is acted on in observation i with reward 10^i; where an episode ends, its last observation is −i.
    """
    obs = torch.tensor([[0.0]])
    for i, letter in enumerate(ends):
        after = torch.tensor([[i + 1.0]])
        final = after if letter == "." else torch.tensor([[-float(i)]])
        done = torch.tensor([letter == "t"]), torch.tensor([letter == "c"])
        step = Step({"obs": after}, {"obs": final}, torch.tensor([10.0 ** (i % 30)]), *done)
        memory.add({"obs": obs}, Act(torch.tensor([i])), step)
        obs = after


def rows(sample: Sample) -> dict[int, tuple[float, ...]]:
    """Reward, discount, next observation, terminated and truncated of each transition, by its action."""
    columns = (sample.reward, sample.discount, sample.next_obs["obs"][:, 0], sample.terminated, sample.truncated)
    return dict(zip(sample.action.tolist(), zip(*(x.tolist() for x in columns), strict=True), strict=True))


def test_three_steps_end_with_the_episode_and_with_the_newest_step() -> None:
    """γ = 0.5 over `..t..c..`: sums stop after the steps 2, 5 and 7, and what follows is the last observation there."""
    memory = build()
    add(memory, "..t..c..")
    found = rows(memory.gather(torch.arange(8), gamma=0.5, n_step=3))
    assert found == {
        0: (1 + 5 + 25, 0.125, -2, True, False),
        1: (10 + 50, 0.25, -2, True, False),
        2: (100, 0.5, -2, True, False),
        3: (1e3 + 5e3 + 25e3, 0.125, -5, False, True),
        4: (1e4 + 5e4, 0.25, -5, False, True),
        5: (1e5, 0.5, -5, False, True),
        6: (1e6 + 5e6, 0.25, 8, False, False),
        7: (1e7, 0.5, 8, False, False),
    }


def episodes(ends: str) -> dict[str, object]:
    """What `add` adds, as whole episodes."""
    steps = torch.arange(len(ends))
    done = {name: torch.tensor([each == letter for each in ends]) for name, letter in (("t", "t"), ("c", "c"))}
    last = done["t"] | done["c"]
    return {
        "obs": {"obs": steps.float().unsqueeze(-1)},
        "final_obs": {"obs": -steps[last].float().unsqueeze(-1)},
        "action": steps,
        "reward": torch.tensor([10.0 ** (i % 30) for i in range(len(ends))]),
        "terminated": done["t"],
        "truncated": done["c"],
        "ends": last,
    }


@pytest.mark.parametrize("storage", ["device", "cpu", "disk"])
@pytest.mark.parametrize("options", [{}, {"sequence": 2, "burn_in": 1}], ids=["transitions", "sequences"])
def test_whole_episodes_at_once_are_those_that_were_added_step_by_step(storage, options) -> None:
    """Samples and state are the same, also when more is added. Capacity, stacks and N are the episodes' own."""
    letters = "...tc..c.t"
    at_once = Replay.of_episodes(
        ReplayConfig(capacity=3, storage=storage, frame_stack=4, **options),
        info(num_envs=3),
        torch.Generator().manual_seed(0),
        **episodes(letters),
    )
    one_by_one = build(len(letters), storage=storage, **options)
    add(one_by_one, letters)
    n_step = 1 if options else 3
    for _ in range(2):
        samples = [tree(each.sample(10, gamma=0.9, n_step=n_step)) for each in (one_by_one, at_once)]
        assert first_difference(*samples) is None
        obs, after = ({"obs": torch.tensor([[float(x)]])} for x in (len(letters), -1))
        step = Step(after, after, torch.ones(1), torch.tensor([True]), torch.tensor([False]))
        for each in (one_by_one, at_once):
            each.add(obs, Act(torch.tensor([1])), step)
    assert first_difference(get_state(one_by_one), get_state(at_once)) is None


def tree(sample: Sample) -> dict[str, object]:
    """A sample by field."""
    names = ("obs", "action", "reward", "next_obs", "terminated", "truncated", "discount", "weight", "index")
    return {name: getattr(sample, name) for name in names}


@pytest.mark.parametrize(
    "change",
    [
        {"ends": torch.tensor([False, False, True, False])},
        {"ends": torch.tensor([False, True, True, True])},
        {"final_obs": {"obs": torch.zeros(3, 1)}},
    ],
)
def test_what_is_not_whole_episodes_is_refused(change: dict[str, object]) -> None:
    """The last transition ends an episode, and each end has a last observation."""
    with pytest.raises(ValueError, match="not those of whole episodes"):
        Replay.of_episodes(ReplayConfig(), info(), torch.Generator(), **{**episodes("..tc"), **change})


def test_the_write_head_separates_new_from_old() -> None:
    """With room for 4 of 7 steps, 3 to 6 are held; the newest is followed by what came after it, not by the oldest."""
    memory = build(4)
    add(memory, ".......")
    assert len(memory) == 4
    row = torch.tensor(memory.held) % memory.rows
    assert rows(memory.gather(row, gamma=0.5, n_step=1)) == {i: (10**i, 0.5, i + 1, False, False) for i in range(3, 7)}
    assert rows(memory.gather(row, gamma=0.5, n_step=2))[6] == (1e6, 0.5, 7, False, False)
    drawn = memory.sample(4)
    assert all(memory.sample(4).action.min() >= 3 for _ in range(50))
    assert torch.equal(drawn.obs["obs"][:, 0], drawn.action.float())


def test_without_a_last_observation_the_next_one_stands_in() -> None:
    """A backend that does not know the last observation hands out the new one twice; that is what is kept."""
    memory = build()
    obs, after = {"obs": torch.tensor([[1.0]])}, {"obs": torch.tensor([[2.0]])}
    memory.add(
        obs, Act(torch.tensor([0])), Step(after, after, torch.ones(1), torch.tensor([True]), torch.tensor([False]))
    )
    sample = memory.sample(1)
    assert sample.next_obs["obs"].item() == 2
    assert sample.terminated.item()


def test_a_sequence_warms_up_and_stays_in_its_episode() -> None:
    """With burn-in 1 and length 2, from step 1 of `..t.`: steps 1, 2, 2, of which the second counts alone.

    From steps 0 and 3, where episodes begin, all count, since there is nothing to warm up.
    """
    memory = build(sequence=2, burn_in=1)
    add(memory, "..t.")
    sample = memory.gather(torch.tensor([0, 1, 2, 3]), gamma=0.9)
    assert sample.action.T.tolist() == [[0, 1, 2], [1, 2, 2], [2, 2, 2], [3, 3, 3]]
    assert sample.weight.T.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert sample.next_obs["obs"][:, 1, 0].tolist() == [2, -2, -2]
    assert sample.terminated.T.tolist()[1] == [False, True, True]
    assert torch.equal(sample.discount, torch.full((3, 4), 0.9))
    assert sample.index.tolist() == [0, 1, 2, 3]


def test_carries_are_those_of_the_first_step() -> None:
    """A group that a recurrent network carries has no axis of time; it is what was before the step, and after it."""
    memory = build(sequence=3)
    obs = {"obs": torch.zeros(1, 1), "carry/actor": torch.tensor([[0.0, 0.5]])}
    for i in range(4):
        after = {"obs": torch.full((1, 1), i + 1.0), "carry/actor": torch.tensor([[i + 1.0, i + 1.5]])}
        no = torch.tensor([False])
        memory.add(obs, Act(torch.tensor([i])), Step(after, after, torch.ones(1), no, no))
        obs = after
    sample = memory.gather(torch.tensor([0, 1]), gamma=1.0)
    assert sample.obs["obs"].shape == (3, 2, 1)
    assert sample.obs["carry/actor"].tolist() == [[0, 0.5], [1, 1.5]]
    assert sample.next_obs["carry/actor"].tolist() == [[1, 1.5], [2, 2.5]]


def test_numbers_keep_their_kind() -> None:
    """Fractions are kept in float32, integers, bytes and bits as they are."""
    memory = build(env=info(obs=spaces.Box(-1, 1, (1,)), pixels=spaces.Box(0, 255, (2, 2)), mask=spaces.MultiBinary(3)))
    obs = {
        "obs": torch.tensor([[1 / 3]], dtype=torch.float64),
        "pixels": torch.arange(4, dtype=torch.uint8).view(1, 2, 2),
        "mask": torch.tensor([[True, False, True]]),
    }
    no = torch.tensor([False])
    memory.add(
        obs, Act(torch.tensor([2**40]), {"log_prob": torch.tensor([-0.5])}), Step(obs, obs, torch.ones(1), no, no)
    )
    sample = memory.sample(2)
    assert sample.obs["obs"].dtype == torch.float32
    assert sample.obs["obs"][0, 0] == torch.tensor(1 / 3)
    assert torch.equal(sample.next_obs["pixels"][1], obs["pixels"][0])
    assert torch.equal(sample.obs["mask"][1], obs["mask"][0])
    assert sample.action.tolist() == [2**40] * 2
    assert sample.extras["log_prob"].tolist() == [-0.5] * 2


def test_a_million_transitions_of_half_cheetah_need_99_bytes_each() -> None:
    """17 observations and 6 actions of 4 bytes, the reward, two ends and one mark: 1 % above the least possible 98."""
    env = EnvInfo(16, {"obs": spaces.Box(-1, 1, (17,))}, spaces.Box(-1, 1, (6,)), torch.device("cpu"))
    memory = build(1_000_000, env)
    obs, no = {"obs": torch.zeros(16, 17)}, torch.zeros(16, dtype=torch.bool)
    memory.add(obs, Act(torch.zeros(16, 6)), Step(obs, obs, torch.zeros(16), no, no))
    assert memory.nbytes == 99 * (1_000_000 + 16)
    assert memory.nbytes <= 1.05 * 98 * 1_000_000


def test_last_observations_make_room_for_new_ones() -> None:
    """With an episode of 4 steps for ever there are never more last observations than 1.5 times those that are held."""
    memory = build(400)
    add(memory, "...t" * 400)
    # 401 rows of observation, action, reward, two ends and a mark; and a number with each last observation.
    ring = 401 * (4 + 8 + 4 + 3)
    assert ring < memory.nbytes <= ring + 1.5 * 102 * (8 + 4)


@pytest.mark.parametrize("storage", ["device", "cpu", "disk"])
def test_storages_hold_the_same(storage: str) -> None:
    """Wherever transitions are kept, the same ones come out."""
    memory, other = build(4, storage=storage), build(4)
    for each in (memory, other):
        add(each, "..t.c..")
    assert rows(memory.sample(4, gamma=0.9, n_step=2)) == rows(other.sample(4, gamma=0.9, n_step=2))


def test_a_full_disk_is_told_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the files do not fit, the first step fails with the size and the place, rather than the process later."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(RunError, match=r"no room for a replay of .* GiB in .*TMPDIR.*No space left"):
        add(build(storage="disk"), ".")


def test_a_folder_that_cannot_be_used_is_told_before_the_run(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `TMPDIR` that is not there is named beside the folder that Python takes instead; so is having none at all."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    with pytest.raises(
        RunError, match=rf"TMPDIR is {tmp_path}/gone, but files would be made in {tempfile.gettempdir()};"
    ):
        add(build(storage="disk"), ".")

    def refuse() -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("slmk_memory_replay.storage.gettempdir", refuse)
    with pytest.raises(RunError, match=r"no folder for a replay on disk .*TMPDIR.*No usable temporary directory"):
        add(build(storage="disk"), ".")


def test_a_file_that_cannot_be_made_is_told_before_the_run(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that vanishes once Python has chosen it is an error with its name."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(RunError, match=rf"no room for a replay of .* in {tmp_path}/gone .*No such file"):
        add(build(storage="disk"), ".")


def test_a_capacity_beyond_the_memory_is_an_error_with_advice() -> None:
    """The size, the place, and the options that help."""
    with pytest.raises(RunError, match=r"no room for a replay of .* GiB in the memory of cpu: lower memory\.capacity"):
        add(build(capacity=2**44), ".")


def test_what_cannot_be_drawn_is_refused() -> None:
    """An empty memory, a batch beyond the capacity, no step at all, several steps in a sequence: each a ValueError."""
    with pytest.raises(ValueError, match="no step was added"):
        build().sample(1)
    with pytest.raises(ValueError, match="less than a step of 4"):
        build(3, info(4))
    memory, sequences = build(), build(sequence=2)
    for each in (memory, sequences):
        add(each, "...")
    with pytest.raises(ValueError, match="9 is larger than the replay's capacity 8"):
        memory.sample(9)
    with pytest.raises(ValueError, match="n_step is 0"):
        memory.sample(1, n_step=0)
    with pytest.raises(ValueError, match="n_step is 2"):
        sequences.sample(1, n_step=2)
    assert len(memory.sample(8).reward) == 8


def test_the_state_of_another_capacity_is_refused() -> None:
    """A checkpoint resumes with the capacity it was made with, and says so otherwise."""
    memory = build(8)
    add(memory, "..t")
    with pytest.raises(CheckpointError, match=r"'capacity': 8.*'capacity': 9"):
        set_state(build(9), through_a_file(get_state(memory)))


def test_only_what_is_filled_is_saved() -> None:
    """Of a replay for a million transitions with 3 in it, the state has 3 rewards and 4 observations."""
    memory = build(1_000_000)
    add(memory, "..t")
    ring = get_state(memory)["ring"]
    assert len(ring["columns"]["reward"]) == 3
    assert len(ring["obs"]["kept"]["obs"]) == 4


@pytest.mark.parametrize(
    ("options", "algorithm", "num_envs", "expected"),
    [
        ({"capacity": 100}, {"batch_size": 100, "n_step": 3}, 4, []),
        (
            {"capacity": 99},
            {"batch_size": 100},
            1,
            [("capacity", "99 transitions are fewer than the algorithm's batch of 100")],
        ),
        (
            {"capacity": 130},
            {"batch_size": 128},
            50,
            [
                (
                    "capacity",
                    "100 transitions (rounded down to a multiple of 50) are fewer than the algorithm's batch of 128",
                )
            ],
        ),
        ({"capacity": 3}, {}, 4, [("capacity", "3 transitions are fewer than 4 environments")]),
        (
            {"capacity": 30, "sequence": 8},
            {},
            4,
            [("capacity", "30 transitions are fewer than 4 environments × 8 steps")],
        ),
        ({"burn_in": 2}, {}, 4, [("burn_in", "warming up is for sequences: set sequence to more than 1")]),
        (
            {"sequence": 2},
            {"n_step": 3},
            1,
            [("sequence", "sequences have one-step rewards, but the algorithm's n_step is 3")],
        ),
    ],
)
def test_problems_are_found_in_the_spec(options, algorithm, num_envs, expected) -> None:
    """What cannot work is a problem of the spec, at the key to change."""
    spec = {"algorithm": SimpleNamespace(**algorithm), "env": SimpleNamespace(num_envs=num_envs)}
    assert list(ReplayConfig(**options).problems(spec)) == expected


def test_stacks_that_are_not_there_are_a_problem() -> None:
    """To keep single frames there must be a group of bytes with the stack as its first axis."""
    with pytest.raises(SpecError, match=r"memory.frame_stack: no observation group is a stack"):
        build(env=info(obs=spaces.Box(0, 255, (84, 84, 4), "uint8")), frame_stack=4)
    with pytest.raises(SpecError, match=r"expected 0 or 4, found 3"):
        build(env=info(obs=spaces.Box(0, 255, (4, 84, 84), "uint8")), frame_stack=3)
