"""The rollout memory: order, axes, the observation after an episode's last step, and its state."""

from __future__ import annotations

import copy

import pytest
import torch
from gymnasium import spaces

from slmk import Act, EnvInfo, Step, Transition
from slmk.state import get_state, set_state
from slmk_memory_rollout import RolloutConfig
from slmk_memory_rollout.rollout import Rollout

INFO = EnvInfo(2, {"obs": spaces.Box(-1, 1, (1,))}, spaces.Discrete(2), torch.device("cpu"))
LENGTHS = (3, 4)
"""Episode lengths of two environments whose observation is the number of steps taken in the episode."""


def build() -> Rollout:
    """An empty memory."""
    return Rollout(RolloutConfig(), INFO, 5, torch.Generator())


def collect(memory: Rollout, steps: int, *, chained: bool = True) -> None:
    """Step two counting environments: the first terminates after 3 steps, the second is truncated after 4."""
    count = torch.zeros(2, 1)
    obs = {"obs": count, "image": count.view(2, 1, 1).expand(2, 3, 4).contiguous()}
    for t in range(steps):
        after = count + 1
        done = after.squeeze(-1) == torch.tensor(LENGTHS)
        count = torch.where(done.unsqueeze(-1), 0.0, after)
        new = {"obs": count, "image": count.view(2, 1, 1).expand(2, 3, 4).contiguous()}
        final = {"obs": after, "image": after.view(2, 1, 1).expand(2, 3, 4).contiguous()} if done.any() else new
        ends = done & torch.tensor([True, False]), done & torch.tensor([False, True])
        act = Act(torch.tensor([t, 10 + t]), {"raw": torch.tensor([[t], [10 + t]])})
        memory.add(obs, act, Step(new, final, torch.tensor([t, 10 + t]).float(), *ends))
        obs = new if chained else {name: value.clone() for name, value in new.items()}


def assert_is_the_episodes(batch: Transition, steps: int) -> None:
    """The batch is what `collect` added, computed from the time index alone."""
    t = torch.arange(steps).unsqueeze(-1)
    counts = t % torch.tensor(LENGTHS)
    done = counts == torch.tensor(LENGTHS) - 1
    assert torch.equal(batch.obs["obs"].squeeze(-1), counts.float())
    assert torch.equal(batch.next_obs["obs"].squeeze(-1), counts.float() + 1)
    assert torch.equal(batch.next_obs["image"][:, :, 2, 3], counts.float() + 1)
    assert torch.equal(batch.terminated, done & torch.tensor([True, False]))
    assert torch.equal(batch.truncated, done & torch.tensor([False, True]))
    assert torch.equal(batch.action, t + torch.tensor([0, 10]))
    assert torch.equal(batch.reward, batch.action.float())
    assert torch.equal(batch.extras["raw"].squeeze(-1), batch.action)


@pytest.mark.parametrize("chained", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 13])
def test_steps_come_out_in_order(steps: int, chained: bool) -> None:
    """All that was added has axes (T, N, …); `next_obs` is the count plus one, also where an episode ended."""
    memory = build()
    collect(memory, steps, chained=chained)
    assert_is_the_episodes(memory.take(), steps)


def test_take_forgets() -> None:
    """A second rollout holds nothing of the first, whose tensors stay as they were."""
    memory = build()
    collect(memory, 5)
    first = memory.take()
    kept = copy.deepcopy(first)
    assert len(memory) == 0
    collect(memory, 7)
    assert_is_the_episodes(memory.take(), 7)
    assert torch.equal(first.obs["obs"], kept.obs["obs"])
    assert torch.equal(first.next_obs["obs"], kept.next_obs["obs"])


def test_one_copy_of_the_observations() -> None:
    """Without an end in the rollout `obs` and `next_obs` are views of the same T + 1 observations."""
    memory = build()
    collect(memory, 2)
    batch = memory.take()
    assert batch.obs["image"][1].data_ptr() == batch.next_obs["image"][0].data_ptr()


def test_rows_join_without_copying() -> None:
    """`flatten` gives (T·N, …) views, in the order time, then environment."""
    memory = build()
    collect(memory, 2)
    batch = memory.take()
    flat = batch.flatten()
    assert flat.action.tolist() == [0, 10, 1, 11]
    assert flat.next_obs["image"].data_ptr() == batch.next_obs["image"].data_ptr()


def test_empty_take_is_an_error() -> None:
    """Nothing added, nothing to take: the error says so."""
    with pytest.raises(IndexError, match="no step was added"):
        build().take()


@pytest.mark.parametrize("steps", [0, 5])
def test_state_is_exact(steps: int) -> None:
    """A memory restored in the middle of a rollout gives what the original gives, the final observations included."""
    memory, other = build(), build()
    collect(memory, steps)
    set_state(other, copy.deepcopy(get_state(memory)))
    assert len(other) == steps
    if steps:
        assert_is_the_episodes(other.take(), steps)


def test_what_is_restored_goes_to_the_runs_device() -> None:
    """Checkpoints are read to the CPU, but all that comes out of a rollout is where the run computes."""
    memory = build()
    collect(memory, 3)
    info = EnvInfo(2, INFO.observation_spaces, INFO.action_space, torch.device("meta"))
    restored = Rollout(RolloutConfig(), info, 5, torch.Generator())
    restored.load_state_dict(memory.state_dict())
    kinds: set[str] = set()
    restored.take().map(lambda x: kinds.add(x.device.type) or x)
    assert kinds == {"meta"}
