"""State values in units of reward, whatever the network answers in."""

import pytest
import torch
from torch import nn

from slmk import Model
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.state import get_state
from slmk.toolbox.critics import Critic

REWARDS = torch.tensor([1.0, 2.0, 3.0, 6.0])
OBS = {"obs": torch.tensor([[0.0, 9.0], [1.0, 9.0]])}


class First(nn.Module):
    """Answers with the first number of an observation."""

    def forward(self, obs):
        return obs["obs"][..., :1]


def critic(normalizer=None) -> Critic:
    return Critic(Model({"critic": First()}, {"critic": ("obs",)}, {}), normalizer)


def test_values_are_in_units_of_reward_whatever_the_critic_answers_in():
    """Where targets are scaled its answers are scaled back, there and back again; elsewhere nothing changes."""
    scaled, plain = critic(Running(RunningConfig(), ())), critic()
    scaled.observe(REWARDS)
    torch.testing.assert_close(scaled.value(OBS), torch.tensor([3.0, 3.0 + REWARDS.std(correction=0)]))
    assert scaled.output(OBS).tolist() == [0, 1]
    assert scaled.as_output(REWARDS).mean().item() == pytest.approx(0, abs=1e-3)
    torch.testing.assert_close(scaled.as_value(scaled.as_output(REWARDS)), REWARDS)
    plain.observe(REWARDS)
    assert plain.value(OBS).tolist() == [0, 1]
    assert plain.as_output(REWARDS) is REWARDS


def test_a_critic_adds_nothing_to_the_state_of_its_algorithm():
    """Its network and its normalizer are saved by whoever holds them, under their own names."""

    class Algorithm:
        def __init__(self):
            self.critic = critic()

    assert get_state(Algorithm()) == {}
