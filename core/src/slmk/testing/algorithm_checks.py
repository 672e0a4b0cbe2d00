"""Checks of the promises that every algorithm makes, one function per promise.

Further ones are in `wiring_checks` and `learning_checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from slmk.config import AlgorithmConfig
from slmk.errors import SpecError
from slmk.protocols import Memory
from slmk.session import Session
from slmk.state import get_state
from slmk.testing.algorithm_runs import (
    build_probe_run,
    build_run,
    first_of_each,
    learn,
    learns,
    supported_spaces,
    trainable_parameters,
)
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import copy_of, equal, first_difference
from slmk.testing.host_sync import host_syncs
from slmk.testing.probe import ACTION_SPACES, assert_actions
from slmk.testing.recurrent_runs import recurrent, recurrent_roles
from slmk.testing.subject import Skip, Subject

__all__ = [
    "ALGORITHM_CHECKS",
    "check_algo_action_spaces",
    "check_algo_every_parameter_learns",
    "check_algo_exact_resume",
    "check_algo_gradient_steps",
    "check_algo_mask",
    "check_algo_metrics",
    "check_algo_no_host_sync",
    "check_algo_observation_groups",
    "check_algo_policy",
    "check_algo_random_streams",
    "check_algo_recurrent_networks",
]


def check_algo_action_spaces(subject: Subject) -> str | None:
    """Acts and learns in every action space, or refuses with a SpecError, and with one environment as with four."""
    refused = []
    for name in ACTION_SPACES:
        try:
            _act_and_learn(build_probe_run(subject, name, num_envs=4))
        except SpecError:
            refused.append(name)
    assert len(refused) < len(ACTION_SPACES), f"it refuses every action space: {', '.join(refused)}"
    for name in first_of_each(subject):
        _act_and_learn(build_probe_run(subject, name, num_envs=1))
    return f"refuses {', '.join(refused)}" if refused else None


def check_algo_observation_groups(subject: Subject) -> None:
    """Works with two groups and asymmetric networks: what an actor does not read does not change what it does."""
    config = _config(subject)
    given = {role: {"name": "toy-mlp"} for role in config.roles} | dict(subject.sections.get("network", {}))
    # The first role acts, by what it can see when trained; the others may look at more.
    networks = {
        role: {**table, "obs": ["state"] if index == 0 and len(given) > 1 else ["state", "hint"]}
        for index, (role, table) in enumerate(given.items())
    }
    env = {"name": "toy-probe", "num_envs": 4, "action": next(supported_spaces(subject)), "groups": "two"}
    asymmetric = {key: value for key, value in subject.sections.items() if key != "network"} | {"network": networks}
    run = build_run(replace(subject, sections=asymmetric), env)
    _act_and_learn(run)
    policy, other = torch.no_grad()(run.algorithm.policy), {**run.obs, "hint": -run.obs["hint"]}
    if len(given) > 1 and equal(policy(run.obs), policy(run.obs)):
        same = equal(policy(run.obs), policy(other))
        assert same, f"the role {next(iter(given))!r} reads 'state' alone, but the policy changes with 'hint'"


def check_algo_mask(subject: Subject) -> str | None:
    """Never chooses a discrete action that the group ``mask`` forbids, neither exploring nor at evaluation."""
    names = [name for name in supported_spaces(subject) if name in ("discrete from 1", "multi-discrete")]
    if not names:
        raise Skip("it refuses discrete actions")
    for name in names:
        run = build_probe_run(subject, name, num_envs=16, mask=True)
        learn(run, 1)
        policy = torch.no_grad()(run.algorithm.policy)
        for _ in range(20):
            action = policy(run.obs)
            assert_actions(ACTION_SPACES[name], action, run.obs)
            run.obs = run.env.step(action).obs
    return None


def check_algo_every_parameter_learns(subject: Subject) -> None:
    """Every trainable parameter changes within a few iterations."""
    learns(subject)
    for name in first_of_each(subject):
        _assert_every_parameter_learns(build_probe_run(subject, name), f"{name} actions")


def check_algo_metrics(subject: Subject) -> None:
    """Metrics are 0-dim tensors on the run's device, called ``group/name``, and finite."""
    run = build_probe_run(subject)
    for metrics in learn(run, 2):
        for name, value in metrics.items():
            assert re.fullmatch("[^/]+/[^/]+", name), f"the metric {name!r} is not called group/name"
            assert isinstance(value, Tensor), f"{name} is a {type(value).__name__}, not a 0-dim tensor"
            assert value.dim() == 0, f"{name} has shape {tuple(value.shape)}, expected a 0-dim tensor"
            assert value.device.type == run.env.info.device.type, f"{name} is on {value.device}"
            assert torch.isfinite(value), f"{name} is {value.item()}"


def check_algo_random_streams(subject: Subject) -> None:
    """Runs depend on the seed alone: global random state is neither read nor moved."""
    before, metrics = torch.get_rng_state(), []
    try:
        for global_seed in (1, 2):
            torch.manual_seed(global_seed)
            state = torch.get_rng_state()
            run = build_probe_run(subject)
            metrics.append([*learn(run, 1), get_state(run.algorithm)])
            assert equal(torch.get_rng_state(), state), "torch's global generator was used; draw from parts.generator"
    finally:
        torch.set_rng_state(before)
    difference = first_difference(metrics[0], metrics[1])
    assert difference is None, f"two runs with one seed differ in {difference}"


def check_algo_policy(subject: Subject) -> str | None:
    """The policy changes nothing that training sees, and is deterministic unless the config says otherwise."""
    run, undisturbed = build_probe_run(subject), build_probe_run(subject)
    for each in (run, undisturbed):
        learn(each, 1)
    algorithm, policy, obs = run.algorithm, torch.no_grad()(run.algorithm.policy), run.obs
    before = copy_of(get_state(algorithm))
    action = policy(obs)
    assert_actions(run.env.info.action_space, action, obs)
    deterministic = _config(subject).deterministic_policy
    if deterministic:
        assert equal(action, policy(obs)), (
            "the policy gives two actions for one observation; "
            "if so meant, set deterministic_policy = False in the config"
        )
        changed = first_difference(before, get_state(algorithm))
        assert changed is None, f"calling the policy changes the algorithm's {changed}"
    with torch.no_grad():
        explored, expected = algorithm.act(obs, 0.5).action, undisturbed.algorithm.act(undisturbed.obs, 0.5).action
    assert equal(explored, expected), "after a call of the policy, act draws other actions: give it its own stream"
    return None if deterministic else "stochastic, as its config declares"


def check_algo_exact_resume(subject: Subject) -> None:
    """A run that goes on from a checkpoint repeats the straight one bit for bit, in metrics and in state."""
    _assert_exact_resume(subject, next(supported_spaces(subject)))


def check_algo_recurrent_networks(subject: Subject) -> str:
    """Acts, trains every parameter and resumes exactly with networks that remember, actions being masked where any are.

    Algorithms are not told: what networks remember comes to them with the observations, and back with the batch.
    """
    learns(subject)
    remarks = []
    for name in first_of_each(subject):
        remembering = recurrent(subject, name)
        remarks.append(f"{name}: {', '.join(recurrent_roles(remembering))}")
        run = build_probe_run(remembering, name, mask=name == "discrete")
        _act_and_learn(run)
        _assert_every_parameter_learns(run, f"recurrent networks and {name} actions")
        _assert_exact_resume(remembering, name)
    return "; ".join(remarks)


def check_algo_no_host_sync(subject: Subject) -> None:
    """Neither `act` nor `learn` reads a value back from the device; what the memory does is its own affair."""
    run = build_probe_run(subject)
    learn(run, 1)
    act_on = torch.no_grad()(run.algorithm.act)
    with host_syncs() as found:
        act_on(run.obs, 0.5)
    assert not found, f"act waits for the device: {found[0]}"
    for _ in range(run.algorithm.horizon):
        act = act_on(run.obs, 0.5)
        step = run.env.step(act.action)
        if run.memory is not None:
            run.memory.add(run.obs, act, step)
        run.obs = step.obs
    with host_syncs() as found:
        run.algorithm.learn(cast("Memory", _Aside(run.memory, found)), 0.5)
    assert not found, f"learn waits for the device: {found[0]}"


def check_algo_gradient_steps(subject: Subject) -> None:
    """Where there is an option ``utd_ratio``: gradient steps are that many per transition, for any `num_envs`."""
    if "utd_ratio" not in _config(subject).model_fields:
        raise Skip("it has no option utd_ratio")
    ratio = subject.config().utd_ratio  # type: ignore[attr-defined]
    for num_envs in (1, 16):
        run = build_probe_run(subject, num_envs=num_envs)
        learn(run, 1)
        steps, updates = run.env_steps, run.updates
        learn(run, 50)
        transitions, made = run.env_steps - steps, run.updates - updates
        assert abs(made - ratio * transitions) <= 1, (
            f"{made} gradient steps in {transitions} transitions of {num_envs} environments, expected {ratio} for each"
            "; they are counted by algorithm.learner.updates"
        )


class _Aside:
    """A memory of which nothing is found."""

    def __init__(self, memory: Memory | None, found: list[str]) -> None:
        self._memory = memory
        self._found = found

    def __len__(self) -> int:
        return len(cast("Memory", self._memory))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            before = len(self._found)
            result = getattr(self._memory, name)(*args, **options)
            del self._found[before:]
            return result

        return call


def _act_and_learn(run: Session) -> None:
    """Act, evaluate and learn once; the probe examines the actions."""
    horizon, num_envs = run.algorithm.horizon, run.num_envs
    assert isinstance(horizon, int), f"algorithm.horizon is a {type(horizon).__name__}, expected an int"
    expected = run.blueprint.algorithm.config.horizon
    assert horizon == expected, f"algorithm.horizon is {horizon}, but its config says {expected}"
    with torch.no_grad():
        act, chosen = run.algorithm.act(run.obs, 0.0), run.algorithm.policy(run.obs)
    for name, value in act.extras.items():
        assert value.shape[:1] == (num_envs,), f"extras[{name!r}] has shape {tuple(value.shape)}, expected (N, …)"
    assert_actions(run.env.info.action_space, chosen, run.obs)
    learn(run, 1)


def _assert_every_parameter_learns(run: Session, case: str) -> None:
    before = {key: value.detach().clone() for key, value in trainable_parameters(run.algorithm).items()}
    learn(run, 2)
    after = trainable_parameters(run.algorithm)
    still = [key for key, value in before.items() if equal(value, after[key].detach())]
    assert not still, f"with {case} these parameters never change: {', '.join(still)}"
    assert run.updates, f"with {case} parameters change, but algorithm.learner counts no gradient step"


def _assert_exact_resume(subject: Subject, action: str) -> None:
    straight, resumed = (_run_with_normalizers(subject, action) for _ in range(2))
    learn(straight, 1)
    resumed.load_state_dict(through_a_file(straight.state_dict(), straight.env.info.device))
    for index, pair in enumerate(zip(learn(straight, 2), learn(resumed, 2), strict=True), 1):
        difference = first_difference(*pair)
        assert difference is None, f"{difference} differs in iteration {index} after resuming"
    difference = first_difference(straight.state_dict() | {"seconds": 0}, resumed.state_dict() | {"seconds": 0})
    assert difference is None, f"{difference} differs two iterations after resuming"


def _run_with_normalizers(subject: Subject, action: str) -> Session:
    """On the probe, with a normalizer in every role that the algorithm knows, so that these are resumed too."""
    sections = {"normalizer": {role: {"name": "running"} for role in _config(subject).normalizers}}
    return build_run(subject, {"name": "toy-probe", "num_envs": 4, "action": action}, sections=sections)


def _config(subject: Subject) -> type[AlgorithmConfig]:
    return cast("type[AlgorithmConfig]", subject.component.config)


ALGORITHM_CHECKS = (
    check_algo_action_spaces,
    check_algo_observation_groups,
    check_algo_mask,
    check_algo_every_parameter_learns,
    check_algo_metrics,
    check_algo_random_streams,
    check_algo_policy,
    check_algo_exact_resume,
    check_algo_recurrent_networks,
    check_algo_no_host_sync,
    check_algo_gradient_steps,
)
"""All of these checks, in the order in which their failures are easiest to understand."""
