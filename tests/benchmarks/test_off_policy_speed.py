"""Training throughput of off-policy algorithms, alternating with their peers in one process on one thread.

Settings are equal: networks, batches, gradient steps per transition, one environment. Peers are Stable-Baselines3 with
sb3-contrib, in torch, and SBX, in JAX.
"""

import os
from unittest.mock import MagicMock

import pytest
import torch
from gymnasium import spaces

import slmk
from slmk import Act, EnvInfo, Step
from slmk.arithmetic import multiplies_in
from slmk.job import process_of
from slmk.loop import iterate
from slmk.registry import Registry, get_registry
from slmk.session import Session

os.environ |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "NPROC": "1"}  # One thread for JAX too.

BATCH, WARM_UP = 256, 300
RELU = {"name": "mlp", "activation": "relu", "init": "pytorch"}
CROSSQ = RELU | {"norm": "batch_renorm", "norm_position": "after", "norm_input": True}
HAS_BF16 = multiplies_in("bf16", torch.device("cpu"))
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this CPU has no bf16 arithmetic")


@pytest.fixture(params=["float32", pytest.param("bf16", marks=needs_bf16)])
def matmul(request):
    """Our arithmetic; peers have float32 throughout."""
    return request.param


def ours(env_id: str, algorithm: dict, networks: dict, *, steps: int, matmul: str = "float32"):
    """A function that trains for so many steps, warmed up and compiled."""
    spec = {
        "run": {"env_steps": 10**9, "compile": "on", "matmul": matmul},
        "env": {"name": "gymnasium", "id": env_id},
        "algorithm": {"learning_starts": WARM_UP, "batch_size": BATCH} | algorithm,
        "memory": {"name": "replay", "capacity": 1_000_000},
        "network": networks,
    }
    blueprint = slmk.load(spec)
    run = Session(blueprint, seed=0)
    iterations = iterate(run)
    calls = steps // run.algorithm.horizon

    def train():
        with process_of(blueprint.run):
            for _ in range(calls):
                next(iterations)

    while run.updates < 10:
        train()
    return train


def theirs(package: str, name: str, env_id: str, *, steps: int, **options):
    """The same of a peer."""
    algorithm = getattr(pytest.importorskip(package), name)
    options = {"learning_starts": WARM_UP, "batch_size": BATCH} | options
    model = algorithm("MlpPolicy", env_id, device="cpu", **options)
    model.learn(WARM_UP + 50)
    return lambda: model.learn(steps, reset_num_timesteps=False)


def test_dqn_cartpole(throughput, benchmark):
    """DQN on CartPole, one environment and a gradient step for every fourth, trains 2.5 times as fast as SB3."""
    options = {"name": "dqn", "double": False, "horizon": 4, "utd_ratio": 0.25, "batch_size": 32, "epsilon": 0.05}
    step = ours("CartPole-v1", options, {"q": RELU | {"hidden": [64, 64]}}, steps=400)
    epsilon = {"exploration_initial_eps": 0.05, "exploration_final_eps": 0.05}
    peer = theirs("stable_baselines3", "DQN", "CartPole-v1", steps=400, batch_size=32, **epsilon)
    benchmark.pedantic(step, rounds=5)
    throughput(step, peer, at_least=2.5)


@pytest.mark.parametrize(
    ("package", "utd_ratio", "least"),
    [
        ("stable_baselines3", 1, {"float32": 2.0, "bf16": 3.5}),
        ("stable_baselines3", 20, {"float32": 2.0, "bf16": 3.0}),
        ("sbx", 1, {"float32": 1.0, "bf16": 1.0}),
    ],
)
def test_sac_halfcheetah(package, utd_ratio, least, matmul, throughput, benchmark):
    """SAC on HalfCheetah trains at least twice as fast as SB3, and as fast as SBX."""
    networks = dict.fromkeys(("actor", "critic"), RELU | {"hidden": [256, 256]})
    steps = max(10, 100 // utd_ratio)
    step = ours("HalfCheetah-v5", {"name": "sac", "utd_ratio": utd_ratio}, networks, steps=steps, matmul=matmul)
    peer = theirs(package, "SAC", "HalfCheetah-v5", steps=steps, gradient_steps=utd_ratio)
    benchmark.pedantic(step, rounds=3)
    throughput(step, peer, rounds=9, at_least=least[matmul])


@pytest.mark.parametrize(
    ("package", "least"), [("sb3_contrib", {"float32": 1.7, "bf16": 4.0}), ("sbx", {"float32": 1.0, "bf16": 1.0})]
)
def test_crossq_halfcheetah(package, least, matmul, throughput, benchmark):
    """CrossQ on HalfCheetah, critics 1024 wide, trains 1.7 times as fast as sb3-contrib, and as fast as SBX."""
    networks = {"actor": CROSSQ | {"hidden": [256, 256]}, "critic": CROSSQ | {"hidden": [1024, 1024]}}
    options = {"name": "crossq", "policy_delay": 3, "adam_beta1": 0.5}
    step = ours("HalfCheetah-v5", options, networks, steps=12, matmul=matmul)
    architecture = {"net_arch": {"pi": [256, 256], "qf": [1024, 1024]}}
    peer = theirs(package, "CrossQ", "HalfCheetah-v5", steps=12, policy_delay=3, policy_kwargs=architecture)
    benchmark.pedantic(step, rounds=3)
    throughput(step, peer, rounds=9, at_least=least[matmul])


def memory_of(name: str, size: int):
    """A memory with transitions of the size of HalfCheetah's, and what adds 16 more."""
    info = EnvInfo(16, {"obs": spaces.Box(-1, 1, (17,))}, spaces.Box(-1, 1, (6,)), torch.device("cpu"))
    component = get_registry().find("memory", name)
    memory = Registry.load(component)(component.config(capacity=size), info, 1, torch.Generator().manual_seed(0))
    obs, act, no = {"obs": torch.randn(16, 17)}, Act(torch.randn(16, 6)), torch.zeros(16, dtype=torch.bool)

    def add():
        nonlocal obs
        after = {"obs": torch.randn(16, 17)}
        memory.add(obs, act, Step(after, after, torch.zeros(16), no, no))
        obs = after  # As in the loop: what followed is acted on next.

    for _ in range(size // 16):
        add()
    return memory, add


def test_the_replay_costs_a_tenth_of_an_update(throughput, benchmark):
    """`add` and `sample` of a batch take a tenth of SAC's update at most."""
    networks = dict.fromkeys(("actor", "critic"), RELU | {"hidden": [256, 256]})
    spec = {
        "run": {"env_steps": 10**9, "compile": "on"},
        "env": {"name": "gymnasium", "id": "HalfCheetah-v5"},
        "algorithm": {"name": "sac", "batch_size": BATCH},
        "memory": {"name": "replay"},
        "network": networks,
    }
    algorithm = Session(slmk.load(spec), seed=0).algorithm
    memory, add = memory_of("replay", 1_000_000)
    batch = memory.sample(BATCH, gamma=0.99)
    one_batch = MagicMock(**{"sample.return_value": batch, "__len__.return_value": BATCH})

    def store_and_draw():
        for _ in range(10):
            add()
            memory.sample(BATCH, gamma=0.99)

    def update():
        for _ in range(10):
            algorithm.learn(one_batch, 0.5)

    benchmark(store_and_draw)
    throughput(store_and_draw, update, at_least=10.0)


@pytest.mark.parametrize("batch_size", [32, 256])
def test_prioritized_sampling(batch_size, throughput, benchmark):
    """Drawing by priority takes twice as long as drawing uniformly at most."""
    (uniform, _), (prioritized, _) = (memory_of(name, 1_000_000) for name in ("replay", "prioritized"))
    for _ in range(1000):
        prioritized.feedback(prioritized.sample(BATCH), torch.rand(BATCH))

    def draw(memory):
        for _ in range(50):
            memory.sample(batch_size, gamma=0.99)

    benchmark(draw, prioritized)
    throughput(lambda: draw(prioritized), lambda: draw(uniform), at_least=0.5)
