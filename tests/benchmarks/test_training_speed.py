"""Training throughput against Stable-Baselines3, alternating in one process with one thread and equal settings."""

import itertools

import pytest
import torch

import slmk
from slmk.loop import iterate
from slmk.session import Session
from slmk_env_envpool import EnvPoolConfig
from slmk_env_envpool.backend import EnvPoolEnv

HORIZON, EPOCHS, MINIBATCHES = 128, 4, 4


def spec(env: dict) -> dict:
    network = {"name": "mlp", "hidden": [64, 64], "activation": "tanh"}
    return {
        "run": {"env_steps": 10**9, "compile": "on"},
        "env": env,
        "algorithm": {"name": "ppo", "horizon": HORIZON, "epochs": EPOCHS, "minibatches": MINIBATCHES},
        "memory": {"name": "rollout"},
        "network": {"actor": network, "critic": network},
    }


def ours(env: dict):
    """A function that trains one iteration, warmed up and compiled."""
    iterations = iterate(Session(slmk.load(spec(env)), seed=0))
    for _ in range(3):
        next(iterations)
    return lambda: next(iterations)


def sb3(env_id: str, num_envs: int):
    """The same of Stable-Baselines3."""
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    from stable_baselines3.common.env_util import make_vec_env

    size = HORIZON * num_envs
    model = stable_baselines3.PPO(
        "MlpPolicy",
        make_vec_env(env_id, n_envs=num_envs, seed=0),
        n_steps=HORIZON,
        n_epochs=EPOCHS,
        batch_size=size // MINIBATCHES,
        device="cpu",
    )
    model.learn(size)
    return lambda: model.learn(size, reset_num_timesteps=False)


@pytest.mark.parametrize(("num_envs", "factor"), [(4, 4.0), (64, 3.5)])
def test_ppo_cartpole(num_envs, factor, throughput, benchmark):
    """PPO on CartPole trains 4 and 3.5 times as many env steps per second as SB3 with 4 and 64 environments."""
    step = ours({"name": "gymnasium", "id": "CartPole-v1", "num_envs": num_envs})
    benchmark.pedantic(step, rounds=5)
    throughput(step, sb3("CartPole-v1", num_envs), at_least=factor)


def test_ppo_halfcheetah(throughput, benchmark):
    """PPO on HalfCheetah with 16 environments trains 1.5 times as fast as SB3."""
    step = ours({"name": "gymnasium", "id": "HalfCheetah-v5", "num_envs": 16, "vectorization": "sync"})
    benchmark.pedantic(step, rounds=3)
    throughput(step, sb3("HalfCheetah-v5", 16), rounds=7, at_least=1.5)


def test_ppo_halfcheetah_on_envpool(throughput, benchmark):
    """With two threads each, PPO on EnvPool's HalfCheetah trains twice as fast as SB3 on Gymnasium's."""
    torch.set_num_threads(2)
    env = {"name": "envpool", "id": "HalfCheetah-v5", "num_envs": 16, "num_threads": 2}
    step = ours(env)
    benchmark.pedantic(step, rounds=3)
    throughput(step, sb3("HalfCheetah-v5", 16), rounds=7, at_least=2)


def test_ppo_on_a_robot(throughput, benchmark):
    """With two threads, PPO on DM Control's CheetahRun trains half as many env steps per second as EnvPool makes."""
    torch.set_num_threads(2)
    options = {"id": "CheetahRun-v1", "num_envs": 64, "num_threads": 2}
    step = ours({"name": "envpool", **options})
    env = EnvPoolEnv(EnvPoolConfig(**options), device=torch.device("cpu"), seed=0)
    env.reset()
    actions = torch.rand(HORIZON, 64, *env.info.action_space.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def alone():
        for action in actions:
            env.step(action)

    benchmark.pedantic(step, rounds=3)
    throughput(step, alone, rounds=7, at_least=0.5)


@pytest.mark.parametrize("num_envs", [4, 64])
def test_the_loop_costs_a_tenth_at_most(num_envs, throughput, benchmark):
    """`iterate` is at least 1/1.1 as fast as a loop by hand over the same acting, stepping and storing."""
    run = Session(slmk.load(spec({"name": "gymnasium", "id": "CartPole-v1", "num_envs": num_envs})), seed=0)
    algorithm, env, memory = run.algorithm, run.env, run.memory
    algorithm.learn = lambda memory, progress: memory.take() and {}
    iterations = iterate(run)

    def kernel():
        next(iterations)
        run.tracker.flush()

    def by_hand():
        obs = run.obs
        with torch.no_grad():
            for _ in itertools.repeat(None, HORIZON):
                act = algorithm.act(obs, 0.0)
                step = env.step(act.action)
                memory.add(obs, act, step)
                obs = step.obs
        run.obs = obs
        memory.take()

    benchmark.pedantic(kernel, rounds=5)
    throughput(kernel, by_hand, rounds=41, at_least=1 / 1.1)
