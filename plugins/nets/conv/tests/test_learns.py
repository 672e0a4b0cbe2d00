"""Algorithms learn from pictures what a picture shows: through rollouts, replays of bytes, and ensembles of critics."""

from itertools import islice
from statistics import fmean

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import slmk
from slmk import Policy
from slmk.assembly import Agent
from slmk.loop import iterate
from slmk.session import Session

SIZE, SIDE = 12, 3
NETWORK = {"name": "conv", "channels": [8, 16], "kernels": [3, 3], "strides": [2, 2], "hidden": [32]}
SPECS = {
    "ppo": (
        {"horizon": 64, "minibatches": 4, "epochs": 4, "lr": 3e-3},
        {"name": "rollout"},
        ("actor", "critic"),
    ),
    "dqn": ({"horizon": 4, "learning_starts": 200, "lr": 2e-3, "target_every": 200}, {"name": "replay"}, ("q",)),
    "sac": (
        {"horizon": 8, "learning_starts": 200, "batch_size": 64, "lr": 3e-3, "utd_ratio": 0.125},
        {"name": "replay"},
        ("actor", "critic"),
    ),
}
"""Options of the algorithm, its memory, and the roles of its networks."""


class Squares(gymnasium.Env):
    """A bright square somewhere on a grey picture with noise; to name its quarter pays 1. One step an episode."""

    observation_space = spaces.Box(0, 255, (SIZE, SIZE), np.uint8)
    action_space = spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        """Draw a picture."""
        super().reset(seed=seed)
        half = SIZE // 2
        self.quarter = int(self.np_random.integers(4))
        row, column = self.np_random.integers(0, half - SIDE + 1, 2) + np.array(divmod(self.quarter, 2)) * half
        picture = self.np_random.integers(0, 128, (SIZE, SIZE), dtype=np.uint8)
        picture[row : row + SIDE, column : column + SIDE] = 255
        self.picture = picture
        return picture, {}

    def step(self, action):
        """1 for the right quarter."""
        return self.picture, float(action == self.quarter), True, False, {}


gymnasium.register("Squares-v0", Squares)


@pytest.fixture(autouse=True)
def one_thread():
    """As in a session; more make small convolutions slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run_of(algorithm):
    """A run of the task, of one seed."""
    options, memory, roles = SPECS[algorithm]
    spec = {
        "run": {"env_steps": 6_000, "compile": "off", "eval_episodes": 100},
        "env": {"name": "gymnasium", "id": "Squares-v0", "num_envs": 8, "vectorization": "sync"},
        "algorithm": {"name": algorithm, **options},
        "memory": memory,
        "network": dict.fromkeys(roles, NETWORK),
    }
    return Session(slmk.load(spec), seed=0)


@pytest.mark.parametrize("algorithm", SPECS)
def test_the_quarter_is_learned(algorithm):
    """Nine answers of ten are right at the end; a guess is right in one of four."""
    run = run_of(algorithm)
    for _ in iterate(run):
        pass
    assert fmean(run.evaluator(run.algorithm.policy, run.env_steps).returns) > 0.9


def test_a_policy_that_sees_is_exported():
    """Its ONNX file takes the bytes of pictures, and chooses what the policy chooses."""
    onnxruntime = pytest.importorskip("onnxruntime")
    convert = pytest.importorskip("slmk_exporter_onnx.file").convert
    run = run_of("ppo")
    for _ in islice(iterate(run), 3):
        pass
    policy = Policy(Agent(run.algorithm, run.recurrence), run.env.info)
    session = onnxruntime.InferenceSession(convert(policy).content)
    pictures = np.random.default_rng(0).integers(0, 256, (32, SIZE, SIZE), dtype=np.uint8)
    (actions,) = session.run(None, {"obs": pictures})
    assert actions.tolist() == policy(pictures).tolist()
    assert len(set(actions.tolist())) > 1
