"""Episode statistics, whenever they are asked for."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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
