"""The past of self-imitation: returns found when an episode ends, and draws by gain."""

import copy

import pytest
import torch

from slmk.state import get_state, set_state
from slmk_algo_sil.past import Past


def past(rows: int = 12, reach: int = 12, exponent: float = 1.0, correction: float = 0.0) -> Past:
    return Past(rows, reach, gamma=0.5, exponent=exponent, correction=correction)


def add(ring: Past, reward: list[float], done: list[int], value: float = 0.0) -> None:
    """Add a rollout of one environment, whose observation is its reward."""
    x = torch.tensor(reward).unsqueeze(-1)
    ended = torch.tensor(done, dtype=torch.bool).unsqueeze(-1)
    ring.add({"obs": x.unsqueeze(-1)}, {"reward": x, "value": torch.full_like(x, value), "done": ended})


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_returns_come_with_the_end_of_the_episode():
    """Rewards 1, 2 and, in the next rollout, 4 have the returns 3, 4 and 4 at γ = ½ once the episode has ended."""
    ring = past()
    add(ring, [1.0, 2.0], [0, 0])
    assert not ring.steps["priority"].any()
    add(ring, [4.0, 8.0], [1, 0])
    assert ring.steps["returns"][:4, 0].tolist() == [3.0, 4.0, 4.0, 0.0]
    assert ring.steps["priority"][:4, 0].tolist() == [3.0, 4.0, 4.0, 0.0]


def test_abandoned_steps_are_never_drawn():
    """Where 1 and 2 belong to an episode that did not go on, the next one's end is not theirs."""
    ring = past()
    add(ring, [1.0, 2.0], [0, 0])
    ring.abandon()
    add(ring, [4.0, 8.0], [1, 0])
    assert ring.steps["priority"][:4, 0].tolist() == [0.0, 0.0, 4.0, 0.0]


def test_priority_is_the_gain_to_its_exponent():
    """Returns 3, 4, 4 against values of 3 gain 0, 1, 1; the first is kept at the smallest gain, 1e-6."""
    ring = past(exponent=0.5)
    add(ring, [1.0, 2.0, 4.0], [0, 0, 1], value=3.0)
    torch.testing.assert_close(ring.steps["priority"][:3, 0], torch.tensor([1e-3, 1.0, 1.0]))


def test_unfinished_steps_are_never_drawn():
    """Of an ended episode and one that still runs, only steps of the first are drawn, whatever the second paid."""
    ring = past()
    add(ring, [1.0, 2.0, 100.0, 100.0], [0, 1, 0, 0])
    batch = ring.sample(200, generator())
    assert set(batch["obs"]["obs"].flatten().tolist()) == {1.0, 2.0}
    assert set(batch["returns"].tolist()) == {2.0}


def test_nothing_has_weight_before_an_episode_has_ended():
    """The first draws, of steps that still wait for their return, have weight 0."""
    ring = past()
    add(ring, [1.0, 2.0], [0, 0])
    batch = ring.sample(8, generator())
    assert batch["weight"].tolist() == [0.0] * 8
    assert batch["obs"]["obs"].shape == (8, 1)


def test_draws_follow_the_gain():
    """Gains 1 and 3 are drawn in the proportion 1 to 3, within four standard errors of 20 000 draws."""
    ring = past()
    add(ring, [1.0, 3.0], [1, 1])
    share = (ring.sample(20_000, generator())["obs"]["obs"] == 3.0).float().mean().item()
    assert share == pytest.approx(0.75, abs=4 * (0.75 * 0.25 / 20_000) ** 0.5)


def test_weights_take_the_preference_back():
    """With exponent ½ and correction ½ the gains 1 and 16 are drawn 1 : 4, with weights 1 and 4^−½ = ½."""
    ring = past(exponent=0.5, correction=0.5)
    add(ring, [1.0, 16.0], [1, 1])
    batch = ring.sample(100, generator())
    weights = dict(zip(batch["obs"]["obs"].flatten().tolist(), batch["weight"].tolist(), strict=True))
    assert weights == {1.0: 1.0, 16.0: pytest.approx(0.5)}


def test_feedback_moves_the_priority_of_known_steps_alone():
    """A new gain replaces the old one; a step whose return is unknown stays so."""
    ring = past()
    add(ring, [1.0, 2.0, 5.0], [1, 1, 0])
    ring.feedback(torch.tensor([0, 2, 0]), torch.tensor([7.0, 7.0, 7.0]))
    assert ring.steps["priority"][:3, 0].tolist() == [7.0, 2.0, 0.0]


def test_the_ring_forgets_the_oldest_and_keeps_what_it_knows():
    """In four rows, six steps: the first two are gone, and an episode that wraps around gets its returns."""
    ring = past(rows=4, reach=4)
    add(ring, [1.0, 1.0, 2.0], [0, 1, 0])
    add(ring, [4.0, 6.0, 8.0], [0, 1, 0])
    assert ring.steps["reward"][:, 0].tolist() == [6.0, 8.0, 2.0, 4.0]
    assert ring.steps["returns"][:, 0].tolist() == [6.0, 0.0, 2 + 0.5 * (4 + 0.5 * 6), 7.0]
    assert ring.steps["priority"][1, 0] == 0


def test_environments_are_kept_apart():
    """Two environments with ends at different times each get their own returns and observations."""
    ring = past()
    reward = torch.tensor([[1.0, 10.0], [2.0, 20.0]])
    done = torch.tensor([[False, True], [True, False]])
    ring.add({"obs": reward.unsqueeze(-1)}, {"reward": reward, "value": torch.zeros(2, 2), "done": done})
    assert ring.steps["returns"][:2].tolist() == [[2.0, 10.0], [2.0, 0.0]]
    batch = ring.sample(500, generator())
    pairs = set(zip(batch["obs"]["obs"].flatten().tolist(), batch["returns"].tolist(), strict=True))
    assert pairs == {(1.0, 2.0), (2.0, 2.0), (10.0, 10.0)}


def test_state_is_exact():
    """Restored in the middle of an episode, another ring draws the same and finds the same returns."""
    one, other = past(rows=4), past(rows=4)
    add(one, [1.0, 2.0, 3.0], [0, 1, 0])
    set_state(other, copy.deepcopy(get_state(one)))
    for ring in (one, other):
        add(ring, [4.0, 5.0], [1, 0])
    torch.testing.assert_close(other.sample(50, generator()), one.sample(50, generator()), rtol=0, atol=0)
