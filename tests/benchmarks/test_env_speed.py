"""Stepping through the contract against the vector environments underneath it, by the same actions."""

import gymnasium
import pytest
import torch

from slmk_env_envpool import EnvPoolConfig
from slmk_env_envpool.backend import EnvPoolEnv
from slmk_env_gymnasium import GymnasiumConfig
from slmk_env_gymnasium.backend import GymnasiumEnv

CPU = torch.device("cpu")


def actions(env, count: int = 32) -> list[torch.Tensor]:
    """Random actions for all environments of `env`."""
    space = gymnasium.vector.utils.batch_space(env.info.action_space, env.info.num_envs)
    space.seed(0)
    return [torch.from_numpy(space.sample()) for _ in range(count)]


def compare(env, raw, throughput, benchmark) -> float:
    """How many times as fast as `raw` `env` steps."""
    env.reset()
    raw.reset()
    tensors = actions(env)
    arrays = [tensor.numpy() for tensor in tensors]
    ratio = throughput(
        lambda: [env.step(action) for action in tensors], lambda: [raw.step(action) for action in arrays]
    )
    benchmark(env.step, tensors[0])
    env.close()
    raw.close()
    return ratio


@pytest.mark.parametrize(
    ("id", "num_envs", "vectorization", "least"),
    [
        ("CartPole-v1", 4, "native", 1.0),
        ("CartPole-v1", 64, "native", 1.0),
        ("CartPole-v1", 4, "sync", 0.9),
        ("HalfCheetah-v5", 16, "sync", 0.9),
    ],
)
def test_gymnasium(id, num_envs, vectorization, least, throughput, benchmark):
    """CartPole steps faster than in Gymnasium's own class, and separate environments as fast as in `SyncVectorEnv`."""
    config = GymnasiumConfig(id=id, num_envs=num_envs, vectorization=vectorization)
    mode = {"native": "vector_entry_point", "sync": "sync"}[vectorization]
    raw = gymnasium.make_vec(id, num_envs=num_envs, vectorization_mode=mode)
    assert compare(GymnasiumEnv(config, device=CPU, seed=0), raw, throughput, benchmark) >= least


@pytest.mark.parametrize(("id", "num_envs", "least"), [("CartPole-v1", 64, 0.6), ("HalfCheetah-v5", 16, 0.8)])
def test_envpool(id, num_envs, least, throughput, benchmark):
    """The contract costs EnvPool a fifth at most, and more where tiny environments restart in almost every step."""
    envpool = pytest.importorskip("envpool")
    config = EnvPoolConfig(id=id, num_envs=num_envs, num_threads=1)
    raw = envpool.make_gymnasium(id, num_envs=num_envs, num_threads=1, seed=0)
    assert compare(EnvPoolEnv(config, device=CPU, seed=0), raw, throughput, benchmark) >= least
