"""Stacks of frames: each frame once, every stack as it was, and an error where they do not continue one another."""

from __future__ import annotations

import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from slmk import Act, EnvInfo, Step
from slmk_memory_replay import Replay, ReplayConfig

K = 4


def build(capacity: int, num_envs: int = 1, side: int = 2) -> Replay:
    info = EnvInfo(
        num_envs, {"pixels": spaces.Box(0, 255, (K, side, side), "uint8")}, spaces.Discrete(2), torch.device("cpu")
    )
    return Replay(ReplayConfig(capacity=capacity, frame_stack=K), info, 1, torch.Generator().manual_seed(0))


def stack(*frames: int, num_envs: int = 1, side: int = 2) -> dict[str, Tensor]:
    """A stack of frames of one colour each."""
    colours = torch.tensor(frames, dtype=torch.uint8).view(1, K, 1, 1)
    return {"pixels": colours.expand(num_envs, K, side, side).contiguous()}


def put(
    memory: Replay, obs: dict[str, Tensor], after: dict[str, Tensor], final: dict[str, Tensor] | None = None
) -> None:
    """Add a step, which terminates where there is a last observation."""
    num_envs = len(obs["pixels"])
    done = torch.full((num_envs,), final is not None)
    step = Step(after, after if final is None else final, torch.zeros(num_envs), done, torch.zeros_like(done))
    memory.add(obs, Act(torch.zeros(num_envs, dtype=torch.int64)), step)


def colours(x: dict[str, Tensor]) -> list[list[int]]:
    return x["pixels"][:, :, 0, 0].tolist()


def test_stacks_come_out_as_they_went_in() -> None:
    """Padding of any kind at the start of an episode, a last observation, and the next episode's padding after it."""
    memory = build(4)
    put(memory, stack(7, 7, 9, 1), stack(7, 9, 1, 2))
    put(memory, stack(7, 9, 1, 2), stack(0, 0, 0, 50), final=stack(9, 1, 2, 3))
    put(memory, stack(0, 0, 0, 50), stack(0, 0, 50, 51))
    sample = memory.gather(torch.arange(3), gamma=1.0)
    assert colours(sample.obs) == [[7, 7, 9, 1], [7, 9, 1, 2], [0, 0, 0, 50]]
    assert colours(sample.next_obs) == [[7, 9, 1, 2], [9, 1, 2, 3], [0, 0, 50, 51]]


def test_the_oldest_stack_keeps_frames_of_steps_that_are_gone() -> None:
    """With room for 2 transitions the oldest still has its 4 frames."""
    memory = build(2)
    for i in range(11):
        put(memory, stack(i, i + 1, i + 2, i + 3), stack(i + 1, i + 2, i + 3, i + 4))
    sample = memory.gather(torch.tensor(memory.held) % memory.rows, gamma=1.0)
    assert colours(sample.obs) == [[9, 10, 11, 12], [10, 11, 12, 13]]
    assert colours(sample.next_obs) == [[10, 11, 12, 13], [11, 12, 13, 14]]


def test_a_stack_that_does_not_continue_is_an_error() -> None:
    """Neither the next stack nor the last of an episode may hold other frames than the one before."""
    for after, final in ((stack(2, 3, 5, 5), None), (stack(0, 0, 0, 0), stack(1, 2, 4, 5))):
        with pytest.raises(ValueError, match="does not continue the one before it"):
            put(build(4), stack(1, 2, 3, 4), after, final)


def test_a_hundred_thousand_stacks_fit_in_less_than_0_8_gib() -> None:
    """84 × 84 × 4 pixels: a frame and 15 bytes a transition, and for each of 8 running episodes a padding of 3."""
    memory = build(100_000, num_envs=8, side=84)
    first, second = (stack(*frames, num_envs=8, side=84) for frames in ((1, 1, 1, 1), (1, 1, 1, 2)))
    put(memory, first, second)
    # An action of 8 bytes, a reward of 4, two ends and a mark; 4 spare steps; the log has room for half as many more.
    assert memory.nbytes == (100_000 + 4 * 8) * (84 * 84 + 15) + 13 * (3 * 84 * 84 + 8)
    assert memory.nbytes < 0.8 * 2**30


def test_an_episode_costs_at_most_six_frames() -> None:
    """With episodes of 50 steps, padding and last frames of the episodes that are held, and half as much to spare."""
    memory = build(1000, side=8)
    obs = stack(0, 0, 0, 0, side=8)
    for i in range(5000):
        newest = torch.full((1, 1, 8, 8), i % 251, dtype=torch.uint8)
        after = {"pixels": torch.cat([obs["pixels"][:, 1:], newest], 1)}
        ended = i % 50 == 49
        put(memory, obs, stack(0, 0, 0, 0, side=8) if ended else after, after if ended else None)
        obs = stack(0, 0, 0, 0, side=8) if ended else after
    frame, episodes = 64, 1000 // 50 + 2
    assert memory.nbytes <= 1004 * (frame + 15) + 1.5 * episodes * (4 * frame + 16)
