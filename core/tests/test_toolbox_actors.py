"""A policy of network and head."""

import numpy as np
import torch
from gymnasium import spaces
from torch import nn

from slmk import EnvInfo, Model
from slmk.toolbox.actors import Actor

BOX = spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))


class Fixed(nn.Module):
    """Gives the observation itself as features."""

    def forward(self, obs):
        return obs["obs"]


def actor(space, **options) -> Actor:
    env = EnvInfo(3, {"obs": spaces.Box(-1, 1, (2,))}, space, torch.device("cpu"))
    return Actor(Model({"actor": Fixed()}, {"actor": ("obs",)}, {}), env, **options)


def test_continuous_actions_are_clipped_and_raw_ones_kept():
    """The mode is the mean, clipped to the bounds; an act keeps what was drawn before clipping."""
    policy, obs = actor(BOX), {"obs": torch.tensor([[0.5, -1.0], [3.0, 5.0], [0.0, 2.0]])}
    assert policy.mode(obs).tolist() == [[0.5, 0.0], [1.0, 4.0], [0.0, 2.0]]
    act = policy.act(obs, torch.Generator().manual_seed(0))
    noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(act.extras["raw"], obs["obs"] + noise)
    torch.testing.assert_close(act.action, act.extras["raw"].clamp(torch.tensor(BOX.low), torch.tensor(BOX.high)))


def test_discrete_actions_respect_start_and_mask():
    """Raw actions count from 0, the environment's from its start; what the mask forbids is never drawn."""
    policy = actor(spaces.Discrete(2, start=5))
    obs = {"obs": torch.tensor([[9.0, 0.0]] * 3), "mask": torch.tensor([[True, True], [False, True], [True, False]])}
    assert policy.mode(obs).tolist() == [5, 6, 5]
    act = policy.act(obs, torch.Generator().manual_seed(0))
    assert act.extras["raw"].tolist()[1:] == [1, 0]
    assert act.action.tolist()[1:] == [6, 5]


def test_gradients_reach_head_and_network():
    """The head's log standard deviation is a parameter of the policy."""
    policy = actor(BOX, log_std_init=-1.0)
    assert dict(policy.named_parameters())["head.log_std"].tolist() == [-1.0, -1.0]
