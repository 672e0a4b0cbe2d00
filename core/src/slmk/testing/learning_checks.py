"""Toy tasks with known answers that an algorithm has to learn within `Subject.learning_steps`."""

from __future__ import annotations

import torch

from slmk.errors import SpecError
from slmk.loop import iterate
from slmk.run import Run
from slmk.testing.algorithm_runs import build_run, learns
from slmk.testing.subject import Skip, Subject
from slmk.testing.toy_envs import make_toy

__all__ = [
    "LEARNING_CHECKS",
    "check_algo_learns_bandit",
    "check_algo_learns_continuous",
    "check_algo_learns_groups",
    "check_algo_learns_multi_binary",
    "check_algo_learns_multi_discrete",
    "check_algo_learns_value_beyond_time_limit",
]

_NUM_ENVS = 16


def check_algo_learns_bandit(subject: Subject) -> str:
    """Picks the paying action of four in 95 % of all cases; guessing gets 25 %."""
    return _check_return(subject, "toy-bandit", least=0.95)


def check_algo_learns_continuous(subject: Subject) -> str:
    """Repeats the observed number, to a mean squared error of 0.02; always answering 0 has 0.33."""
    return _check_return(subject, "toy-continuous", least=-0.02)


def check_algo_learns_multi_discrete(subject: Subject) -> str:
    """Gets 95 % of two choices right; guessing gets 42 %."""
    return _check_return(subject, "toy-multidiscrete", least=0.95)


def check_algo_learns_multi_binary(subject: Subject) -> str:
    """Gets 95 % of three bits right; guessing gets 50 %."""
    return _check_return(subject, "toy-multibinary", least=0.95)


def check_algo_learns_groups(subject: Subject) -> str:
    """Finds the exclusive or of two observation groups in 95 % of all cases; either group alone gives 50 %."""
    return _check_return(subject, "toy-groups", least=0.95)


def check_algo_learns_value_beyond_time_limit(subject: Subject) -> str:
    """A time limit is no end: the value of reward 1 for ever at gamma 0.9 is 10, to 5 %, not 4.1."""
    learns(subject)
    if "gamma" not in subject.component.config.model_fields:
        raise Skip("it has no option gamma")
    run = _train(subject, "toy-truncating", gamma=0.9)
    if not hasattr(run.algorithm, "value"):
        raise Skip("it has no critic that can be asked: no method value(obs) -> (N,)")
    with torch.no_grad():
        value = run.algorithm.value({"obs": torch.eye(2)}).mean().item()
    assert 9.5 <= value <= 10.5, (
        f"the value of both states is {value:.2f}, expected 10; 4.1 or less means that a cut is taken for an end, "
        "something in between that rewards of one episode leak into another or that learning is too slow"
    )
    return f"{value:.2f}"


def _check_return(subject: Subject, task: str, *, least: float) -> str:
    learns(subject)
    run = _train(subject, task)
    env = make_toy(task, num_envs=64, seed=1)
    obs, rewards = env.reset(), []
    for _ in range(8):
        step = env.step(run.algorithm.policy(obs))
        obs = step.obs
        rewards.append(step.reward)
    reached = torch.stack(rewards).mean().item()
    assert reached >= least, (
        f"return {reached:.3f} after {run.env_steps} env steps, expected {least} or more; "
        "give the check options with which it learns fast, or more learning_steps"
    )
    return f"{reached:.3f}"


def _train(subject: Subject, task: str, **options: float) -> Run:
    """Train to the end of the budget."""
    env = {"name": task, "num_envs": _NUM_ENVS}
    options = {**subject.learning, **options}
    try:
        run = build_run(subject, env, options=options, env_steps=subject.learning_steps)
    except SpecError as error:
        raise Skip(f"it refuses the action space: {error}") from error
    for _ in iterate(run):
        pass
    return run


LEARNING_CHECKS = (
    check_algo_learns_bandit,
    check_algo_learns_continuous,
    check_algo_learns_multi_discrete,
    check_algo_learns_multi_binary,
    check_algo_learns_groups,
    check_algo_learns_value_beyond_time_limit,
)
"""All of these checks."""
