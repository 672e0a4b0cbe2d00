"""A policy asks for what it reads, and for nothing that was there for training alone."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from gymnasium import spaces

import slmk
from slmk import CheckpointError, Policy, SpecError
from slmk.assembly import Agent, build_agent
from slmk.checkpoint import Checkpoints, read_checkpoint, write_checkpoint
from slmk.loop import iterate
from slmk.policy import find_checkpoint, registry_of
from slmk.scoring import _require_same_spaces, score
from slmk.session import Session
from slmk.streams import Streams
from slmk.testing.toy_runs import make_run_directory

MLP, GRU = {"name": "mlp", "hidden": [16]}, {"name": "recurrent", "hidden": 8, "window": 16}
LEFT, RIGHT = {"obs": ["left"]}, {"obs": ["right"]}


@pytest.fixture
def trained(slmk_registry):
    """Makes a policy with these networks, trained a little in the toy that has the groups ``left`` and ``right``."""

    def train(**networks) -> Policy:
        spec = {
            "run": {"env_steps": 400, "compile": "off"},
            "env": {"name": "toy-groups"},
            "algorithm": {"name": "ppo", "horizon": 16, "minibatches": 1, "epochs": 1},
            "memory": {"name": "rollout"},
            "network": networks,
            "normalizer": {"obs": {"name": "running"}},
        }
        run = Session(slmk.load(spec, registry=slmk_registry), 0, slmk_registry)
        for _ in islice(iterate(run), 3):
            pass
        return Policy(Agent(run.algorithm, run.recurrence), run.env.info)

    return train


def of_spaces(observed, network=MLP) -> Policy:
    """A policy of PPO that has learned nothing, for two actions."""
    spec = {
        "run": {"env_steps": 400},
        "env": {"name": "gymnasium", "id": "CartPole-v1"},
        "algorithm": {"name": "ppo", "horizon": 16, "minibatches": 1, "epochs": 1},
        "memory": {"name": "rollout"},
        "network": dict.fromkeys(("actor", "critic"), network),
    }
    info = slmk.EnvInfo(1, observed, spaces.Discrete(2), torch.device("cpu"))
    return Policy(build_agent(slmk.load(spec), info, Streams(0)), info)


def drawn(policy, name, count=5):
    space = policy.env.observation_spaces[name]
    return np.stack([np.asarray(space.sample(), np.float32) for _ in range(count)])


def test_what_only_the_critic_reads_is_not_asked_for(trained):
    """With it, without it, and with the one group alone, the policy does the same."""
    policy = trained(actor=MLP | LEFT, critic=MLP | RIGHT)
    assert policy.reads == ("left",)
    left, right = drawn(policy, "left"), drawn(policy, "right")
    action = policy({"left": left, "right": right})
    assert np.array_equal(policy({"left": left}), action)
    assert np.array_equal(policy(left), action)
    for wrong in ({"right": right}, {"left": left, "middle": left}):
        with pytest.raises(ValueError, match=r"expected the observation groups \['left'\]"):
            policy(wrong)


def test_a_critic_that_remembers_is_left_alone(trained):
    """Only the actor's memory is kept from call to call."""
    policy = trained(actor=GRU | LEFT, critic=GRU | RIGHT)
    assert policy.reads == ("left",)
    left = drawn(policy, "left")
    policy(left)
    assert set(policy._carries) == {"carry/actor"}
    plain = trained(actor=MLP | LEFT, critic=GRU | RIGHT)
    plain(left)
    assert plain._carries == {}


def test_it_can_be_scored_where_there_is_nothing_else(trained):
    """`slmk eval` on another simulator compares the groups that the policy reads."""
    policy = trained(actor=MLP | LEFT, critic=MLP | RIGHT)
    spaces = policy.env.observation_spaces
    _require_same_spaces(policy, replace(policy.env, observation_spaces={"left": spaces["left"]}))
    with pytest.raises(SpecError, match=r"trained with other observations .*found \{\}"):
        _require_same_spaces(policy, replace(policy.env, observation_spaces={"right": spaces["right"]}))


@pytest.fixture
def made(tmp_path):
    """Makes a run of sessions whose checkpoints were written when the best evaluation was this."""

    def make(best_of_seeds):
        for seed, best in best_of_seeds.items():
            write_checkpoint(tmp_path / f"seed-{seed}" / "checkpoints" / "000000000100", {"best": best}, {})
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("best_of_seeds", "chosen"),
    [
        ({0: 10.0, 1: 30.0, 2: 20.0}, 1),
        ({0: -30.0, 1: None, 2: -20.0}, 2),
        ({8: 10.0, 9: 10.0, 10: 10.0}, 8),
        ({9: None, 10: None}, 9),
        ({9: float("nan"), 10: 10.0}, 10),
    ],
)
def test_of_a_run_it_is_the_seed_with_the_best_evaluation(best_of_seeds, chosen, made):
    """One that was never evaluated, or had no number, comes behind; of equals the first one by its number counts."""
    run = made(best_of_seeds)
    assert find_checkpoint(run) == run / f"seed-{chosen}" / "checkpoints" / "000000000100"


def test_of_a_session_it_is_the_checkpoint_that_is_marked(made):
    """In a run, too, where it is the older one; a session or a checkpoint that was asked for is not compared."""
    run = made({0: 10.0, 1: 30.0})
    checkpoints = run / "seed-1" / "checkpoints"
    write_checkpoint(checkpoints / "000000000200", {"best": 30.0}, {})
    (checkpoints / "best").write_text("000000000100")
    assert find_checkpoint(run) == find_checkpoint(run / "seed-1") == checkpoints / "000000000100"
    assert find_checkpoint(checkpoints / "000000000200") == checkpoints / "000000000200"
    assert find_checkpoint(run / "seed-0").parent == run / "seed-0" / "checkpoints"


def test_a_run_without_checkpoints_has_no_policy(tmp_path):
    """What was expected is said."""
    (tmp_path / "seed-0").mkdir()
    with pytest.raises(CheckpointError, match="expected a run, a seed-"):
        find_checkpoint(tmp_path)


def test_discrete_observations_may_be_counted_from_any_number():
    """What a policy reads is found out with values that the environment could give."""
    space = spaces.Discrete(5, start=3)
    policy = of_spaces({"obs": space})
    assert policy.reads == ("obs",)
    assert policy(np.int64(3)) in (0, 1)
    assert policy(np.array([3, 7])).shape == (2,)


def test_numbers_of_any_kind_are_taken():
    """Integers for real numbers, and tensors with a gradient or of another type, are what they say."""
    policy = of_spaces({"obs": spaces.Box(-9, 9, (3,))})
    expected = policy(np.array([[1.0, 2.0, 3.0]]))
    for given in ([[1, 2, 3]], torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True), torch.tensor([[1, 2, 3]])):
        assert policy(given) == expected


def test_a_memory_is_of_as_many_rows_as_before():
    """Rows that come or go between two calls have no memory of their own."""
    policy = of_spaces({"obs": spaces.Box(-9, 9, (3,))}, GRU)
    policy(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"a batch of 3 after one of 2.*reset"):
        policy(np.zeros((3, 3)))
    policy.reset()
    assert policy(np.zeros((3, 3))).shape == (3,)


def test_it_is_loaded_on_another_kind_of_device_than_it_was_trained_on(tmp_path, monkeypatch):
    """The stream of a GPU has another form, and acting by the mode needs none."""
    spec = {
        "run": {"env_steps": 32, "compile": "off"},
        "env": {"name": "gymnasium", "id": "CartPole-v1"},
        "algorithm": {"name": "ppo", "horizon": 16, "minibatches": 1, "epochs": 1},
        "memory": {"name": "rollout"},
        "network": dict.fromkeys(("actor", "critic"), MLP),
    }
    run = Session(slmk.load(spec), 0)
    state = run.state_dict()
    state["algorithm"]["generator"]["value"] = torch.zeros(16, dtype=torch.uint8)
    monkeypatch.setattr(run, "state_dict", lambda: state)
    Checkpoints(tmp_path).save(run)
    path = tmp_path / "000000000000"
    assert Policy.load(path)(np.zeros(4)) in (0, 1)
    with pytest.raises(CheckpointError, match=r"PPO\.generator is a random stream of another kind of device than cpu"):
        run.load_state_dict(read_checkpoint(path)[0])


def test_a_policy_of_a_single_file_is_scored(tmp_path):
    """The file that the run's spec names is read again; by itself a checkpoint runs no code."""
    directory = make_run_directory(tmp_path)
    assert score(directory, 2).episodes == 2
    assert Policy.load(directory, registry=registry_of(directory)).env.num_envs == 1
    with pytest.raises(SpecError, match="no algorithm is called 'toy-idle'"):
        Policy.load(directory)
