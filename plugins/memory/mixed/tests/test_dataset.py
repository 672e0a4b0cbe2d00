"""Reading datasets: what fits comes in as tensors of the run, and what does not is refused by what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from slmk import Act, EnvInfo, SpecError, Step
from slmk.state import get_state
from slmk.testing.compare import first_difference
from slmk_memory_mixed.dataset import read
from slmk_memory_replay import Replay, ReplayConfig

BOX = spaces.Box(-1, 1, (1,))


def info(action: spaces.Space | None = None, **groups: spaces.Space) -> EnvInfo:
    return EnvInfo(3, groups or {"obs": BOX}, action or spaces.Discrete(2), torch.device("cpu"))


def episode(observations: object, actions: list, **fields: object) -> dict[str, object]:
    steps = len(actions)
    given = {
        "observations": observations,
        "actions": np.array(actions),
        "rewards": np.zeros(steps),
        "terminations": np.arange(steps) == steps - 1,
        "truncations": np.zeros(steps, bool),
    }
    return given | fields


def test_the_replay_is_one_to_which_every_step_was_added(tmp_path, letters) -> None:
    """Built at once or step by step: one and the same state, bit for bit."""
    episodes = read(str(letters(tmp_path / "demos-v0", "...t", "c", "..", ".t")), info())
    one = EnvInfo(1, {"obs": BOX}, spaces.Discrete(2), torch.device("cpu"))
    replay = Replay(ReplayConfig(capacity=len(episodes)), one, 1, torch.Generator())
    finals = iter(episodes.final_obs["obs"])
    for t in range(len(episodes)):
        obs = {"obs": episodes.obs["obs"][t : t + 1]}
        done = bool(episodes.ends[t])
        last = next(finals)[None] if done else None
        following = episodes.obs["obs"][t + 1 : t + 2] if t + 1 < len(episodes) else last
        after = {"obs": following}
        final = {"obs": last} if done else after
        columns = (x[t : t + 1] for x in (episodes.reward, episodes.terminated, episodes.truncated))
        # An episode that no flag ends goes on in other observations: the replay notices, as after a resume.
        is_cut = done and not (episodes.terminated[t] or episodes.truncated[t])
        replay.add(obs, Act(episodes.action[t : t + 1]), Step(final if is_cut else after, final, *columns))
    found = episodes.as_replay(ReplayConfig(), info(), torch.Generator())
    assert first_difference(get_state(replay), get_state(found)) is None


def test_groups_and_numbers_are_those_of_the_environment(tmp_path, write) -> None:
    """Nested groups are joined by a slash; doubles become float32, bits bool, small integers int64, bytes stay."""
    inner = {"camera": spaces.Box(0, 255, (1, 2), np.uint8), "joints": spaces.Box(-np.inf, np.inf, (2,), np.float64)}
    space = spaces.Dict({"robot": spaces.Dict(inner), "mask": spaces.MultiBinary(2), "goal": spaces.Discrete(5)})
    observations = {
        "robot": {
            "camera": np.array([[[1, 2]], [[3, 255]]], np.uint8),
            "joints": np.array([[1 / 3, 2], [3, 4]]),
        },
        "mask": np.array([[0, 1], [1, 1]], np.int8),
        "goal": np.array([4, 2]),
    }
    action = spaces.Box(-2, 2, (1,), np.float64)
    path = write(tmp_path / "groups-v0", space, action, episode(observations, [[0.1]], rewards=np.array([0.5])))
    env = info(
        spaces.Box(-2, 2, (1,), np.float32),
        goal=spaces.Discrete(5),
        **{"robot/camera": inner["camera"], "robot/joints": spaces.Box(-9, 9, (2,)), "mask": spaces.MultiBinary(2)},
    )
    found = read(str(path), env)
    assert {name: (x.dtype, x.tolist()) for name, x in found.obs.items()} == {
        "robot/camera": (torch.uint8, [[[1, 2]]]),
        "robot/joints": (torch.float32, [[torch.tensor(1 / 3).item(), 2]]),
        "mask": (torch.bool, [[False, True]]),
        "goal": (torch.int64, [4]),
    }
    assert found.final_obs["robot/camera"].tolist() == [[[3, 255]]]
    assert found.final_obs["mask"].tolist() == [[True, True]]
    assert found.action.dtype == found.reward.dtype == torch.float32
    assert found.reward.tolist() == [0.5]


@pytest.mark.parametrize(
    ("env", "message", "both"),
    [
        (info(obs=spaces.Box(-1, 1, (2,))), "other observations", ("(2,)", "(1,)")),
        (info(obs=spaces.Box(-1, 1, (1,)), goal=BOX), "other observations", ("goal: Box", "obs: Box")),
        (info(obs=spaces.Box(0, 255, (1,), np.uint8)), "other observations", ("uint8", "float32")),
        (info(state=BOX), "other observations", ("state: Box", "obs: Box")),
        (info(spaces.Discrete(3)), "other actions", ("Discrete(3)", "Discrete(2)")),
        (info(spaces.Discrete(2, start=1)), "other actions", ("Discrete(2, start=1)", "Discrete(2)")),
        (info(spaces.Box(-1, 1, (2,))), "other actions", ("(2,)", "Discrete(2)")),
    ],
)
def test_other_spaces_are_refused_by_name(tmp_path, letters, env, message, both) -> None:
    """The message names both spaces, the environment's and that of the dataset, at the key of the spec."""
    path = letters(tmp_path / "demos-v0", "..t")
    with pytest.raises(SpecError) as caught:
        read(str(path), env)
    (problem,) = caught.value.problems
    assert problem.path == "memory.demonstrations"
    assert message in problem.message
    assert both[0] in problem.expected
    assert both[1] in problem.found


def test_actions_of_another_range_are_refused(tmp_path, write) -> None:
    """The same number stands for another force where the range is another."""
    path = write(tmp_path / "demos-v0", BOX, spaces.Box(-1, 1, (1,)), episode(np.zeros((2, 1)), [[0.5]]))
    assert len(read(str(path), info(spaces.Box(-1, 1, (1,))))) == 1
    with pytest.raises(SpecError, match=r"other actions.*Box\(-2\.0, 2\.0.*Box\(-1\.0, 1\.0"):
        read(str(path), info(spaces.Box(-2, 2, (1,))))


PLAYED = {"name": "envpool", "id": "Pong-v5", "options": {"reward_clip": False, "stack_num": 4}}


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({}, None),
        ({"difficulty": "hard"}, None),  # An option that the backend did not have when this was recorded.
        ({"name": "gymnasium", "id": "ALE/Pong-v5"}, None),
        ({"options": {"reward_clip": True, "stack_num": 4}}, "env.options = {'reward_clip': True, 'stack_num': 4}"),
        ({"id": "Breakout-v5"}, "env.id = Breakout-v5"),
    ],
)
def test_options_of_the_environment_are_those_of_the_recording(tmp_path, letters, change, differs) -> None:
    """Speed and other backends do not matter, but what is rewarded and observed does."""
    path = letters(tmp_path / "demos-v0", "..t")
    file = path / "data" / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"slmk_task": PLAYED}))
    env = replace(info(), task=PLAYED | change)
    if differs is None:
        assert len(read(str(path), env)) == 3
        return
    with pytest.raises(SpecError, match=r"memory\.demonstrations: .* under other options") as caught:
        read(str(path), env)
    (problem,) = caught.value.problems
    assert problem.expected == differs


def test_a_recording_of_unknown_options_is_taken(tmp_path, letters) -> None:
    """Datasets of others do not say how they were played."""
    assert len(read(str(letters(tmp_path / "demos-v0", "..t")), replace(info(), task=PLAYED))) == 3


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"observations": np.zeros((2, 1))}, r"episode 0: 2 rewards, and steps of .*'obs': 1"),
        ({"rewards": np.zeros(3)}, "episode 0: 3 rewards"),
        ({"rewards": np.array([0, np.nan])}, "episode 0: reward is not finite"),
        ({"observations": np.array([[0], [np.inf], [0]])}, "episode 0: obs is not finite"),
        ({"actions": np.array([0, 2])}, r"episode 0: actions from 0 to 2 are not all in Discrete\(2\)"),
        ({"actions": np.array([0.4, 1.4])}, r"episode 0: action has values float64 \(\), not those of Discrete\(2\)"),
        ({"actions": np.array([[0], [1]])}, r"episode 0: action has values int64 \(1,\)"),
        ({"rewards": np.zeros((2, 1))}, r"episode 0: reward has values float64 \(1,\)"),
        ({"terminations": np.ones((2, 1), bool)}, r"episode 0: terminated has values bool \(1,\)"),
        ({"observations": np.zeros((3, 2))}, r"episode 0: obs has values float64 \(2,\)"),
        ({"terminations": np.array([True, False])}, "episode 0: it goes on after it ended with step 1 of 2"),
        ({"truncations": np.array([True, False])}, "episode 0: it goes on after it ended with step 1 of 2"),
    ],
)
def test_what_no_environment_gives_is_refused(tmp_path, write, fields, reason) -> None:
    """Lengths and shapes that do not fit, numbers that are not finite, actions that do not exist: each says where.

    So does an episode that goes on after its end, over which rewards would be summed up.
    """
    given = episode(np.zeros((3, 1)), [0, 1]) | fields
    path = write(tmp_path / "demos-v0", BOX, spaces.Discrete(2), given)
    with pytest.raises(SpecError, match=rf"is damaged, or not one of Minari .*{reason}"):
        read(str(path), info())


def test_actions_beyond_their_bounds_are_refused_but_for_rounding(tmp_path, write) -> None:
    """An action of 25 in [-1, 1] would be learned from; one that rounding has moved is taken as it is."""
    space = spaces.Box(-1, 1, (1,))
    near = write(tmp_path / "near-v0", BOX, space, episode(np.zeros((2, 1)), [[1.0001]]))
    assert len(read(str(near), info(space))) == 1
    far = write(tmp_path / "far-v0", BOX, space, episode(np.zeros((3, 1)), [[0.0], [25.0]]))
    with pytest.raises(SpecError, match=r"episode 0: actions from 0 to 25 are not all in Box\(-1\.0, 1\.0"):
        read(str(far), info(space))


def test_choices_that_do_not_exist_are_refused(tmp_path, write) -> None:
    """Each of several choices has bounds of its own."""
    space = spaces.MultiDiscrete([2, 3])
    path = write(tmp_path / "demos-v0", BOX, space, episode(np.zeros((2, 1)), [[2, 2]]))
    with pytest.raises(SpecError, match=r"actions from 2 to 2 are not all in MultiDiscrete"):
        read(str(path), info(space))


def test_a_damaged_file_is_refused(tmp_path, letters) -> None:
    """Cut in half, empty, or gone, the data or what is said about them: a problem of the spec that names the folder."""
    for name in ("main_data.hdf5", "metadata.json"):
        path = letters(tmp_path / name / "demos-v0", "..t", ".c")
        file = path / "data" / name
        whole = file.read_bytes()
        for damaged in (whole[: len(whole) // 2], b""):
            file.write_bytes(damaged)
            with pytest.raises(SpecError, match=r"memory\.demonstrations: the dataset in .*demos-v0/data is damaged"):
                read(str(path), info())
    (tmp_path / "main_data.hdf5" / "demos-v0" / "data" / "main_data.hdf5").unlink()
    with pytest.raises(SpecError, match=r"demos-v0/data is damaged, or not one of Minari .*No data found"):
        read(str(tmp_path / "main_data.hdf5" / "demos-v0"), info())


def test_a_dataset_that_is_empty_or_missing_is_refused(tmp_path, letters, monkeypatch) -> None:
    """The one has no episodes; for the other it is said where it was looked for, and how to come by one."""
    with pytest.raises(SpecError, match=r"memory\.demonstrations: the dataset in .*empty-v0/data is empty"):
        read(str(letters(tmp_path / "empty-v0")), info())
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    with pytest.raises(SpecError) as caught:
        read("nowhere-v0", info())
    (problem,) = caught.value.problems
    assert problem.expected == f"a folder, or an id below {tmp_path / 'root'}"
    assert problem.found == "'nowhere-v0'"
    assert problem.hint.startswith("make one with `slmk eval RUN --record nowhere-v0`")
    assert not (tmp_path / "root").exists()
