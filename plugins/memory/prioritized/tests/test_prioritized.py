"""Prioritized replay by hand: probabilities, weights, priorities of what is new, gone and replaced."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
import torch
from gymnasium import spaces

from slmk import Act, EnvInfo, RunError, Step, load
from slmk.config import Linear
from slmk.loop import iterate
from slmk.session import Session
from slmk.state import get_state, set_state
from slmk.testing.checkpoints import through_a_file
from slmk_memory_prioritized import PrioritizedConfig
from slmk_memory_prioritized.prioritized import Prioritized
from slmk_memory_replay import ReplayConfig

EPSILON = 1e-12
"""So small that priorities in the tests are whole numbers, for as many digits as matter."""


def build(capacity: int = 4, num_envs: int = 1, seed: int = 0, **options: object) -> Prioritized:
    info = EnvInfo(num_envs, {"obs": spaces.Box(-1, 1, (1,))}, spaces.Discrete(2), torch.device("cpu"))
    config = PrioritizedConfig(capacity=capacity, epsilon=EPSILON, **options)
    return Prioritized(config, info, 1, torch.Generator().manual_seed(seed))


def add(memory: Prioritized, start: int, steps: int, num_envs: int = 1, length: int = 3) -> None:
    """Steps whose reward is their number, from `start` on, in episodes of that length."""
    for t in range(start, start + steps):
        obs, after = (torch.full((num_envs, 1), float(u)) for u in (t, t + 1))
        done = torch.full((num_envs,), t % length == length - 1)
        number = t * num_envs + torch.arange(num_envs)
        step = Step({"obs": after}, {"obs": after + 0.5}, number.float(), done, torch.zeros_like(done))
        memory.add({"obs": obs}, Act(number), step)


def prioritize(memory: Prioritized, errors: dict[int, float]) -> None:
    """Tell errors by the numbers of transitions; of a sequence by that of its first step, the same in all steps."""
    batches = (memory.sample(1) for _ in range(1000))
    drawn = {int(batch.action.flatten()[0]): batch for batch in batches}
    for number, error in errors.items():
        memory.feedback(drawn[number], torch.full_like(drawn[number].weight, error))


def draws(memory: Prioritized, count: int) -> dict[int, int]:
    """How often each number is drawn if one is from each of `count` equal parts of all priorities."""
    return dict(Counter(memory.sample(count).action.tolist()))


def test_probabilities_by_hand() -> None:
    """With errors 1, 4, 9, 16 and α = 0.5 transitions are drawn with probabilities 0.1, 0.2, 0.3 and 0.4."""
    memory = build(alpha=0.5, capacity=10)
    add(memory, 0, 4)
    prioritize(memory, {0: 1.0, 1: -4.0, 2: 9.0, 3: 16.0})
    assert memory.priorities().tolist() == pytest.approx([1, 2, 3, 4])
    assert draws(memory, 10) == {0: 1, 1: 2, 2: 3, 3: 4}


def test_weights_by_hand() -> None:
    """With P = 0.1, 0.2, 0.3, 0.4 of N = 4 and β = 1 weights are 2.5, 1.25, 5/6, 5/8 over the highest in the batch."""
    memory = build(alpha=1.0, beta=1.0, capacity=8)
    add(memory, 0, 4)
    prioritize(memory, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0})
    sample = memory.sample(8)
    raw = torch.tensor([2.5, 1.25, 5 / 6, 5 / 8])[sample.action]
    assert sample.weight.dtype == torch.float32
    assert sample.weight.tolist() == pytest.approx((raw / raw.max()).tolist(), rel=1e-6)


@pytest.mark.parametrize(("progress", "beta"), [(0.0, 0.4), (0.5, 0.7), (1.0, 1.0)])
def test_beta_moves_with_progress(progress: float, beta: float) -> None:
    """By default β goes from 0.4 to 1: of priorities 1 and 8 the second weighs 8^−β of the first."""
    memory = build(alpha=1.0)
    add(memory, 0, 2)
    prioritize(memory, {0: 1.0, 1: 8.0})
    for _ in range(30):
        sample = memory.sample(4, progress=progress)
        if (sample.action == 0).any():
            assert sample.weight[sample.action == 1][0].item() == pytest.approx(8**-beta, rel=1e-6)
            return
    raise AssertionError("the first transition was not drawn")


def test_new_transitions_have_the_highest_priority_so_far() -> None:
    """After errors of 3 and 1 a new transition is drawn three times as often as the second; also once 3 is gone."""
    memory = build(capacity=7, alpha=1.0)
    add(memory, 0, 7)
    prioritize(memory, {0: 3.0, 1: 1.0, **dict.fromkeys(range(2, 7), 0.0)})
    add(memory, 7, 1)
    assert draws(memory, 4) == {1: 1, 7: 3}
    prioritize(memory, {7: 0.5})
    add(memory, 8, 1)
    assert draws(memory, 7) == {7: 1, 8: 6}


def test_before_any_feedback_all_are_alike() -> None:
    """Priorities begin at 1, so that weights are 1 and every transition is drawn equally often."""
    memory = build()
    add(memory, 0, 4)
    assert memory.sample(4).action.tolist() == [0, 1, 2, 3]
    assert memory.sample(3).weight.tolist() == [1, 1, 1]


def test_rows_that_hold_nothing_are_never_drawn() -> None:
    """An error that comes late, for a row that was given up meanwhile, does not make the row one to draw."""
    memory = build(capacity=4, alpha=1.0)
    add(memory, 0, 4)
    batch = memory.sample(4)
    add(memory, 4, 2)  # Takes rows 4 and 0 of five; the row of number 1 is that of what comes next.
    memory.feedback(batch, torch.full((4,), 1e9))
    held = {2, 3, 4, 5}
    assert {int(x) for _ in range(100) for x in memory.sample(4).action} <= held
    assert memory.priorities().tolist() == pytest.approx([1e9, 1e9, 1.0, 1e9])  # 5 is where 0 was.


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_priorities_follow_a_dictionary(num_envs: int, seed: int) -> None:
    """Over many laps, with feedback and resumes at random, priorities are those a dictionary by number would have.

    Now and then more than a lap is added at once.
    """
    random = torch.Generator().manual_seed(seed)
    steps, count = 7, 0
    memory = build(capacity=steps * num_envs, num_envs=num_envs, alpha=0.7)
    expected: dict[int, float] = {}
    highest = 1.0
    for _ in range(60):
        added = int(torch.randint(0, 2 * steps, (), generator=random)) // int(torch.randint(1, 3, (), generator=random))
        add(memory, count, added, num_envs)
        expected |= dict.fromkeys(range(count * num_envs, (count + added) * num_envs), highest)
        count += added
        expected = {number: p for number, p in expected.items() if number >= (count - steps) * num_envs}
        if expected and torch.rand((), generator=random) < 0.7:
            sample = memory.sample(min(5, steps * num_envs))
            assert set(sample.action.tolist()) <= set(expected)
            error = sample.action.float().sin() * count  # The same for a transition that was drawn twice.
            memory.feedback(sample, error)
            for number, e in zip(sample.action.tolist(), error.tolist(), strict=True):
                expected[number] = (abs(e) + EPSILON) ** 0.7
            highest = max(highest, *(expected[number] for number in sample.action.tolist()))
        if torch.rand((), generator=random) < 0.2:
            other = build(capacity=steps * num_envs, num_envs=num_envs, alpha=0.7, seed=99)
            set_state(other, through_a_file(get_state(memory)))
            memory = other
        assert memory.priorities().tolist() == pytest.approx([expected[i] for i in sorted(expected)], rel=1e-12)
        if expected:  # Nothing else is drawn.
            assert set(memory.sample(steps * num_envs).action.tolist()) <= set(expected)


def test_a_resumed_memory_draws_the_same() -> None:
    """After a resume samples, their weights and what follows feedback are the same, bit for bit."""
    memory, other = build(50, alpha=0.6), build(50, alpha=0.6, seed=7)
    add(memory, 0, 70)
    for _ in range(5):
        memory.feedback(sample := memory.sample(20), sample.reward.cos())
    add(memory, 70, 3)
    set_state(other, through_a_file(get_state(memory)))
    for start in range(73, 100, 3):
        samples = []
        for each in (memory, other):
            add(each, start, 3)
            samples.append(each.sample(20, n_step=3, gamma=0.9))
            each.feedback(samples[-1], samples[-1].reward.cos())
        for name in ("action", "reward", "weight", "discount", "index"):
            assert torch.equal(*(getattr(sample, name) for sample in samples))


def test_sequences_are_drawn_by_their_first_step() -> None:
    """Each step of a sequence has the weight of its sequence, and none where it does not count."""
    memory = build(alpha=1.0, beta=1.0, capacity=6, sequence=2, burn_in=1)
    add(memory, 0, 3)
    prioritize(memory, {0: 1.0, 1: 2.0, 2: 2.0})
    sample = memory.sample(6)
    importance = torch.where(sample.action[0] == 0, 1.0, 0.5) / (1.0 if (sample.action[0] == 0).any() else 0.5)
    counts = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])[sample.action[0]].T
    torch.testing.assert_close(sample.weight, counts * importance)


def test_the_priority_of_a_sequence_is_that_of_its_steps_that_count() -> None:
    """0.9 of the largest error and 0.1 of the mean: of 1 and 3 that is 2.9; what follows the end is left out."""
    memory = build(alpha=1.0, capacity=6, sequence=2)
    add(memory, 0, 3)
    sequences = memory.sample(3)
    assert sequences.action[0].tolist() == [0, 1, 2]
    assert sequences.weight.tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    memory.feedback(sequences, torch.tensor([[1.0, -2.0, 3.0], [3.0, 2.0, 50.0]]))
    assert memory.priorities().tolist() == pytest.approx([2.9, 2.0, 3.0])


def test_a_sequence_that_is_drawn_too_early_keeps_its_priority() -> None:
    """With burn-in 2, steps 3 and 4 of an episode that goes on are to count later: what is said of them now is not.

    Nor is it the highest priority so far. Step 0 begins the episode, so that it counts at once.
    """
    memory = build(alpha=1.0, capacity=20, sequence=2, burn_in=2)
    add(memory, 0, 5, length=20)
    prioritize(memory, {0: 0.5, 1: 0.5, 2: 0.5, 3: 0.0, 4: 7.0})
    assert memory.priorities().tolist() == pytest.approx([0.5, 0.5, 0.5, 1.0, 1.0])
    add(memory, 5, 2, length=20)
    assert memory.priorities()[5:].tolist() == [1.0, 1.0]
    prioritize(memory, {3: 0.5, 4: 0.25, 5: 0.0})
    assert memory.priorities().tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.25, 1.0, 1.0])


@pytest.mark.parametrize(("length", "later"), [(5, 1), (20, 2)])
def test_a_sequence_that_will_never_count_is_given_up(length: int, later: int) -> None:
    """With burn-in 2 nothing counts from the last two steps of an episode on; nor if a resume has cut it there."""
    memory = build(alpha=1.0, capacity=20, sequence=2, burn_in=2)
    add(memory, 0, 5, length=length)
    add(memory, 50, later, length=100)  # Does not go on from what came last.
    prioritize(memory, {2: 0.5, 3: 0.0, 4: 0.0, 50: 0.5})
    assert memory.priorities()[:6].tolist() == pytest.approx([1.0, 1.0, 0.5, EPSILON, EPSILON, 0.5])


def test_a_recurrent_network_learns_by_priority() -> None:
    """Deep Q-learning with a GRU hands back errors of sequences, and goes on."""
    spec = {
        "name": "remembers",
        "run": {"env_steps": 1000, "compile": "off"},
        "env": {"name": "gymnasium", "id": "CartPole-v1", "num_envs": 2, "vectorization": "sync"},
        "algorithm": {"name": "dqn", "learning_starts": 20, "batch_size": 8},
        "memory": {"name": "prioritized", "capacity": 500, "sequence": 4, "burn_in": 2},
        "network": {"q": {"name": "recurrent", "hidden": 8}},
    }
    run = Session(load(spec), seed=0)
    for _ in islice(iterate(run), 20):
        pass
    run.close()
    assert run.updates > 20
    assert len(set(run.memory.priorities().tolist())) > 3


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_an_error_that_is_not_finite_ends_the_run(wrong) -> None:
    """Of a total that is not a number nothing can be drawn; the message says why."""
    memory = build()
    add(memory, 0, 4)
    batch = memory.sample(4)
    memory.feedback(batch, torch.tensor([1.0, wrong, 1.0, 1.0]))
    with pytest.raises(RunError, match="training has diverged"):
        memory.sample(4)


def test_the_options_are_those_of_the_paper_on_top_of_a_replay() -> None:
    """Every option of a replay is there, and α, β and ε besides."""
    assert set(PrioritizedConfig.model_fields) - set(ReplayConfig.model_fields) == {"alpha", "beta", "epsilon"}
    assert PrioritizedConfig().beta == Linear(start=0.4, end=1.0)
