"""What the backend adds to a step of mjlab's environment with its own restarts, by the same random actions."""

from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch

from slmk_env_mjlab import MjlabConfig

TASK = "Mjlab-Cartpole-Balance"
"""The cheapest task of mjlab, where what is added weighs most."""


@pytest.mark.parametrize("num_envs", [64, 1024])
def test_mjlab(num_envs, throughput, benchmark):
    """A tenth at most: restarts are asked for, so that the last observation of an episode can be read before."""
    pytest.importorskip("mjlab")
    config = MjlabConfig(id=TASK, num_envs=num_envs)
    config.prepare()
    from mjlab.envs import ManagerBasedRlEnv
    from mjlab.tasks.registry import load_env_cfg

    from slmk_env_mjlab.backend import MjlabEnv

    env = MjlabEnv(config, device=torch.device("cpu"), seed=0)
    cfg = load_env_cfg(TASK)
    cfg.scene.num_envs = num_envs
    with redirect_stdout(StringIO()):
        raw = ManagerBasedRlEnv(cfg, device="cpu")
    env.reset(), raw.reset()
    actions = torch.randn(5, num_envs, *env.info.action_space.shape, generator=torch.Generator().manual_seed(0))

    def ours():
        for action in actions:
            env.step(action)

    def bare():
        for action in actions:
            raw.step(action)

    benchmark.pedantic(ours, rounds=3)
    throughput(ours, bare, at_least=0.9)
