"""Stepping through the contract against the vector environments underneath it, by the same actions."""

import gymnasium
import numpy as np
import pytest
import torch

from slmk_env_envpool import EnvPoolConfig
from slmk_env_envpool.backend import EnvPoolEnv
from slmk_env_gymnasium import GymnasiumConfig
from slmk_env_gymnasium.backend import GymnasiumEnv
from slmk_env_playground import PlaygroundConfig

CPU = torch.device("cpu")


def actions(env, count: int = 32) -> list[torch.Tensor]:
    """Random actions for all environments of `env`."""
    space = gymnasium.vector.utils.batch_space(env.info.action_space, env.info.num_envs)
    space.seed(0)
    return [torch.from_numpy(space.sample()) for _ in range(count)]


def compare(env, raw, throughput, benchmark, at_least) -> float:
    """How many times as fast as `raw` `env` steps; `at_least` is kept with the result."""
    env.reset()
    raw.reset()
    tensors = actions(env)
    arrays = [tensor.numpy() for tensor in tensors]
    benchmark(env.step, tensors[0])
    ours, theirs = (lambda: [env.step(action) for action in tensors]), (lambda: [raw.step(action) for action in arrays])
    ratio = throughput(ours, theirs, at_least=at_least)
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
    assert compare(GymnasiumEnv(config, device=CPU, seed=0), raw, throughput, benchmark, least) >= least


@pytest.mark.parametrize(("id", "num_envs", "least"), [("CartPole-v1", 64, 0.6), ("HalfCheetah-v5", 16, 0.8)])
def test_envpool(id, num_envs, least, throughput, benchmark):
    """The contract costs EnvPool a fifth at most, and more where tiny environments restart in almost every step."""
    envpool = pytest.importorskip("envpool")
    config = EnvPoolConfig(id=id, num_envs=num_envs, num_threads=1)
    raw = envpool.make_gymnasium(id, num_envs=num_envs, num_threads=1, seed=0)
    assert compare(EnvPoolEnv(config, device=CPU, seed=0), raw, throughput, benchmark, least) >= least


@pytest.mark.parametrize("num_envs", [64, 1024])
@pytest.mark.parametrize("id", ["CartpoleBalance", "CheetahRun"])
def test_playground(id, num_envs, throughput, benchmark):
    """Episode ends, restarts, DLPack and the pool cost Playground's bare ``jit(vmap(env.step))`` a twentieth at most.

    The bare step knows none of them. Each side looks at its rewards in every step, since JAX only promises them.
    """
    pytest.importorskip("mujoco_playground")
    config = PlaygroundConfig(id=id, num_envs=num_envs, num_threads=1)
    config.prepare()
    import jax

    from slmk_env_playground.backend import PlaygroundEnv

    env = PlaygroundEnv(config, device=CPU, seed=0)
    env.reset()
    tensors = actions(env, 10)
    inner = env._simulation.env
    bare_step = jax.jit(jax.vmap(inner.step))
    # From the same states by the same actions, since what physics cost depends on what happens.
    state = env._simulation.state_of(env._simulation.copy(env._carry))

    def ours():
        for action in tensors:
            env.step(action).reward.numpy().sum()

    def bare():
        nonlocal state
        for action in tensors:
            state = bare_step(state, action.numpy())
            np.asarray(state.reward).sum()

    benchmark.pedantic(ours, rounds=3)
    throughput(ours, bare, at_least=0.95)
