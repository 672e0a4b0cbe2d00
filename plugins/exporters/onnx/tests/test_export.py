"""ONNX files of policies, run by onnxruntime alone."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

import slmk
import slmk_algo_dqn
import slmk_algo_ppo
import slmk_env_gymnasium
import slmk_memory_replay
import slmk_memory_rollout
import slmk_net_mlp
import slmk_net_recurrent
from slmk import Policy, RunError, builtin, trial
from slmk.assembly import Agent
from slmk.cli import cli
from slmk.loop import iterate
from slmk.registry import Registry
from slmk.session import Session
from slmk.testing import toy_envs
from slmk.testing.imports import private_imports, sources_of
from slmk_exporter_onnx import file
from slmk_exporter_onnx.file import METADATA, convert

REGISTRY = Registry.from_modules(
    [
        builtin,
        slmk_algo_dqn,
        slmk_algo_ppo,
        slmk_env_gymnasium,
        slmk_memory_replay,
        slmk_memory_rollout,
        slmk_net_mlp,
        slmk_net_recurrent,
        toy_envs,
    ]
)
MLP = {"name": "mlp", "hidden": [16]}
PPO = {
    "run": {"env_steps": 400, "compile": "off"},
    "algorithm": {"name": "ppo", "horizon": 16, "minibatches": 1, "epochs": 1},
    "memory": {"name": "rollout"},
    "network": {"actor": MLP, "critic": MLP},
    "normalizer": {"obs": {"name": "running"}},
}
PENDULUM = {"name": "gymnasium", "id": "Pendulum-v1", "num_envs": 4}


def trained(spec: dict[str, Any]) -> Policy:
    """The policy after a few iterations, so that its statistics are those of something."""
    run = Session(slmk.load(spec, registry=REGISTRY), 0, REGISTRY)
    for _ in islice(iterate(run), 3):
        pass
    return Policy(Agent(run.algorithm, run.recurrence), run.env.info)


def session(policy: Policy) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(convert(policy).content)


def described(runtime: onnxruntime.InferenceSession) -> dict[str, Any]:
    def refuse(constant):
        raise ValueError(f"JSON has no {constant}")

    return json.loads(runtime.get_modelmeta().custom_metadata_map[METADATA], parse_constant=refuse)


def names(values) -> list[str]:
    return [value.name for value in values]


@pytest.mark.parametrize("gaussian", ["state_independent", "state_dependent", "tanh"])
def test_normalization_and_the_range_of_actions_are_in_the_file(gaussian):
    """Raw observations go in, actions of the environment come out: those of the policy, for any size of batch."""
    policy = trained(PPO | {"env": PENDULUM, "algorithm": PPO["algorithm"] | {"gaussian": gaussian}})
    runtime = session(policy)
    obs = np.random.default_rng(0).normal(0, 50, (33, 3)).astype(np.float32)
    (action,) = runtime.run(None, {"obs": obs})
    np.testing.assert_allclose(action, policy(obs), rtol=1e-4, atol=1e-5)
    assert action.shape == (33, 1)
    assert np.abs(action).max() <= 2.0
    about = described(runtime)
    assert about["inputs"] == {"obs": {"shape": [3], "dtype": "float32"}}
    assert about["observation_spaces"]["obs"]["high"] == [1.0, 1.0, 8.0]
    assert about["action_space"] == {"type": "Box", "low": [-2.0], "high": [2.0], "shape": [1], "dtype": "float32"}


def test_a_recurrent_policy_hands_its_memory_over():
    """Step by step, over the ends of episodes, the file acts as the policy; the critic's memory is not asked for."""
    gru = {"name": "recurrent", "hidden": 8, "window": 16}
    policy = trained(PPO | {"env": PENDULUM, "network": {"actor": gru, "critic": gru}})
    runtime = session(policy)
    assert names(runtime.get_inputs()) == ["carry/actor", "first", "obs"]
    assert names(runtime.get_outputs()) == ["action", "next/carry/actor"]
    assert described(runtime)["carries"] == {"carry/actor": "next/carry/actor"}
    random, carry = np.random.default_rng(0), np.full((2, 8), np.nan, np.float32)
    actions = []
    for first in ([True, True], [False, False], [False, True], [False, False]):
        obs = random.normal(size=(2, 3)).astype(np.float32)
        action, carry = runtime.run(None, {"obs": obs, "carry/actor": carry, "first": np.array(first)})
        np.testing.assert_allclose(action, policy(obs, np.array(first)), rtol=1e-4, atol=1e-5)
        actions.append(action)
    assert not np.allclose(actions[1], policy(obs, True), atol=1e-5), "the memory matters"


def test_what_only_the_critic_reads_is_no_input():
    """A robot does not have the groups that were there for training alone."""
    actor, critic = MLP | {"obs": ["left"]}, MLP | {"obs": ["right"]}
    policy = trained(PPO | {"env": {"name": "toy-groups"}, "network": {"actor": actor, "critic": critic}})
    runtime = session(policy)
    assert names(runtime.get_inputs()) == ["left"]
    assert list(described(runtime)["observation_spaces"]) == ["left"]


def test_forbidden_actions_stay_forbidden():
    """The mask is an input, and obeyed."""
    network = {"q": MLP}
    dqn = {"name": "dqn", "learning_starts": 0, "batch_size": 8}
    spec = {"run": PPO["run"], "env": {"name": "toy-masked", "num_envs": 4}, "algorithm": dqn, "network": network}
    runtime = session(trained(spec | {"memory": {"name": "replay", "capacity": 100}}))
    obs = np.random.default_rng(0).random((20, 4)).astype(np.float32)
    for allowed in range(4):
        mask = np.zeros((20, 4), np.int8)
        mask[:, allowed] = 1
        (action,) = runtime.run(None, {"obs": obs, "mask": mask})
        assert action.tolist() == [allowed] * 20


def test_bounds_that_are_missing_are_null():
    """CartPole's velocities are unbounded, for which JSON has no number."""
    space = described(session(trained(PPO | {"env": {"name": "gymnasium", "id": "CartPole-v1", "num_envs": 4}})))
    assert space["observation_spaces"]["obs"]["high"] == [
        pytest.approx(4.8),
        None,
        pytest.approx(0.419, abs=1e-3),
        None,
    ]


def test_the_command_writes_the_best_policy_of_a_run(tmp_path):
    """`slmk export RUN` tells where the file is, what it takes and how well it agrees."""
    run = trial.run({"name": "pendulum", **PPO, "env": PENDULUM}, out=tmp_path).directory
    done = CliRunner().invoke(cli, ["export", str(run)])
    assert done.exit_code == 0, done.output
    assert f"{run / 'policy.onnx'}" in done.output
    assert "obs → action" in done.output
    obs = np.zeros((1, 3), np.float32)
    (action,) = onnxruntime.InferenceSession(run / "policy.onnx").run(None, {"obs": obs})
    np.testing.assert_allclose(action, Policy.load(run)(obs), rtol=1e-4, atol=1e-5)
    with pytest.raises(RunError, match=r"cannot write .*missing"):
        file.write(run, tmp_path / "missing" / "policy.onnx")


@pytest.mark.parametrize(("shift", "difference"), [(0.01, r"0\.01"), (np.nan, "nan")])
def test_a_file_that_acts_otherwise_is_not_written(shift, difference, monkeypatch):
    """The comparison finds a policy that was exported wrongly, also where its actions are no numbers."""
    policy = trained(PPO | {"env": PENDULUM})
    original = file._onnx

    def shifted(graph, description):
        forward = graph.forward
        monkeypatch.setattr(graph, "forward", lambda inputs: (forward(inputs)[0] + shift,))
        return original(graph, description)

    monkeypatch.setattr(file, "_onnx", shifted)
    with pytest.raises(RunError, match=f"differ from the policy's by {difference}"):
        convert(policy)


def test_a_policy_without_an_onnx_form_is_an_error(monkeypatch):
    """What torch cannot trace is said in one line."""
    policy = trained(PPO | {"env": PENDULUM})
    algorithm = policy.agent.algorithm
    mode = algorithm.policy
    monkeypatch.setattr(algorithm, "policy", lambda obs: torch.from_numpy(mode(obs).numpy().copy()))
    with pytest.raises(RunError, match=r"the policy has no ONNX form: [^\n]+$"):
        convert(policy)


def test_only_public_names_of_the_kernel_are_used():
    """As the contract suite asks of components; a command is none."""
    assert [name for path in sources_of("slmk_exporter_onnx") for name in private_imports(path)] == []
