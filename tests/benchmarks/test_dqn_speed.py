"""Training throughput of DQN against Stable-Baselines3, alternating in one process on one thread at equal settings."""

import pytest

import slmk
from slmk.loop import iterate
from slmk.run import Run

STEPS, BATCH, WARM_UP = 400, 32, 200


def ours():
    """A function that trains for some steps, warmed up and compiled."""
    spec = {
        "run": {"env_steps": 10**9, "compile": "on"},
        "env": {"name": "gymnasium", "id": "CartPole-v1"},
        "algorithm": {"name": "dqn", "double": False, "horizon": 4, "utd_ratio": 0.25, "batch_size": BATCH}
        | {"learning_starts": WARM_UP, "epsilon": 0.05},
        "memory": {"name": "replay", "capacity": 1_000_000},
        "network": {"q": {"name": "mlp", "hidden": [64, 64], "activation": "relu"}},
    }
    iterations = iterate(Run(slmk.load(spec), seed=0))
    for _ in range(2 * WARM_UP // 4):
        next(iterations)
    return lambda: [next(iterations) for _ in range(STEPS // 4)]


def sb3():
    """The same of Stable-Baselines3, at its defaults but for the beginning of learning and the share of exploration."""
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    model = stable_baselines3.DQN(
        "MlpPolicy",
        "CartPole-v1",
        batch_size=BATCH,
        learning_starts=WARM_UP,
        exploration_initial_eps=0.05,
        exploration_final_eps=0.05,
        device="cpu",
    )
    model.learn(2 * WARM_UP)
    return lambda: model.learn(STEPS, reset_num_timesteps=False)


def test_dqn_cartpole(throughput, benchmark):
    """DQN on CartPole, one environment and a gradient step for every fourth, trains 2.5 times as fast as SB3."""
    step = ours()
    ratio = throughput(step, sb3())
    benchmark.pedantic(step, rounds=5)
    assert ratio >= 2.5
