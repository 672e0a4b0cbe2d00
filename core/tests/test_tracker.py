"""Episode statistics, whenever they are asked for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import slmk.tracker
from slmk import Step
from slmk.tracker import ReturnTracker


def step(reward, terminated, truncated=None) -> Step:
    truncated = [False] * len(reward) if truncated is None else truncated
    return Step({}, {}, torch.tensor(reward), torch.tensor(terminated), torch.tensor(truncated))


def test_returns_and_lengths_of_hand_made_episodes():
    """Two environments: returns 1+2 (length 2) and 10 (length 1), then 20 cut by truncation."""
    tracker = ReturnTracker(2)
    tracker.add(step([1.0, 10.0], [False, True]))
    tracker.add(step([2.0, 20.0], [True, False], [False, True]))
    metrics = tracker.metrics()
    assert metrics == {
        "episode/return": 11.0,
        "episode/return_ma": 11.0,
        "episode/length_ma": 4 / 3,
        "episode/count": 3,
    }
    assert tracker.metrics()["episode/return"] is None
    assert tracker.metrics()["episode/return_ma"] == 11.0


def test_only_the_window_counts():
    """The moving average forgets all but the last two episodes."""
    tracker = ReturnTracker(1, window=2)
    for reward in (1.0, 2.0, 4.0):
        tracker.add(step([reward], [True]))
    assert tracker.metrics()["episode/return_ma"] == 3.0


def test_abandoned_episodes_are_not_counted():
    """After an outside reset the running sum starts at 0 again."""
    tracker = ReturnTracker(1)
    tracker.add(step([5.0], [False]))
    tracker.abandon()
    tracker.add(step([1.0], [True]))
    assert tracker.metrics()["episode/return"] == 1.0


def test_what_came_with_a_reward_is_not_kept():
    """A reward that is part of a larger tensor is copied out of it; one by itself is not, nor one without memory."""
    tracker = ReturnTracker(2)
    packed, alone, never = torch.tensor([7.0, 7.0, 1.0, 2.0]), torch.tensor([4.0, 5.0]), torch.tensor(False).expand(2)
    for reward in (packed[2:], alone):
        tracker.add(Step({}, {}, reward, never, never))
    (copy, first, _), (same, *_) = tracker._steps
    assert copy.untyped_storage().nbytes() == 8
    assert same is alone
    assert first is never
    packed.zero_()
    tracker.add(step([0.0, 0.0], [True, True]))
    assert tracker.metrics()["episode/return"] == 6.0


rows = st.lists(
    st.tuples(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2),
        st.lists(st.booleans(), min_size=2, max_size=2),
    ),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(rows, st.sets(st.integers(0, 29)))
def test_results_do_not_depend_on_when_they_are_asked_for(steps, flushes):
    """Flushing and saving at any moments gives the same bits as never doing so."""
    straight, broken = ReturnTracker(2), ReturnTracker(2)
    for index, (reward, done) in enumerate(steps):
        straight.add(step(reward, done))
        broken.add(step(reward, done))
        if index in flushes:
            state = broken.state_dict()
            broken = ReturnTracker(2)
            broken.load_state_dict(state)
    assert straight.metrics() == broken.metrics()
    assert straight.state_dict()["returns"].tolist() == broken.state_dict()["returns"].tolist()


@settings(deadline=None)
@given(rows)
def test_returns_are_the_sums_in_time_order(steps):
    """Each episode's return and length equal a plain float64 loop over its rewards, to the last bit."""
    tracker, expected, running = ReturnTracker(2), [], [[0.0, 0], [0.0, 0]]
    for reward, done in steps:
        tracker.add(step(reward, done))
        for index in range(2):
            running[index] = [running[index][0] + reward[index], running[index][1] + 1]
            if done[index]:
                expected.append(running[index])
                running[index] = [0.0, 0]
    state = tracker.state_dict()
    assert state["last"] == expected
    assert state["new"] == [value for value, _ in expected]
    assert (state["returns"].tolist(), state["lengths"].tolist()) == tuple(map(list, zip(*running, strict=True)))


def test_memory_is_bounded_between_reports(monkeypatch: pytest.MonkeyPatch):
    """With room for 8 rewards, the third step of 4 environments finds the first two added up, and nothing is lost."""
    monkeypatch.setattr(slmk.tracker, "PENDING", 8)
    tracker = ReturnTracker(4)
    for _ in range(3):
        tracker.add(step([1.0] * 4, [False] * 4))
    assert len(tracker._steps) == 1
    tracker.add(step([1.0] * 4, [True] * 4))
    assert tracker.metrics()["episode/length_ma"] == 4.0


def test_a_saved_state_is_a_copy():
    """Going on after `state_dict` does not change what it returned."""
    tracker = ReturnTracker(1)
    tracker.add(step([5.0], [False]))
    state = tracker.state_dict()
    tracker.add(step([1.0], [False]))
    tracker.flush()
    assert state["returns"].tolist() == [5.0]


def test_no_episode_has_ended_yet():
    """Before the first end there is no return, which is null rather than 0 or NaN."""
    tracker = ReturnTracker(1)
    tracker.add(step([5.0], [False]))
    nothing = {"episode/return": None, "episode/return_ma": None, "episode/length_ma": None, "episode/count": 0}
    assert tracker.metrics() == nothing
