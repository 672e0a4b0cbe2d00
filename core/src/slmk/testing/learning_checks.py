"""Toy tasks with known answers that an algorithm has to learn within `Subject.learning_steps`."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean

import torch
from torch import Tensor

from slmk.errors import SpecError
from slmk.evaluation import play
from slmk.loop import iterate
from slmk.session import Session
from slmk.testing.algorithm_runs import build_run, learns, supported_spaces
from slmk.testing.recurrent_runs import recurrent
from slmk.testing.subject import Skip, Subject
from slmk.testing.toy_envs import make_toy

__all__ = [
    "LEARNING_CHECKS",
    "check_algo_learns_bandit",
    "check_algo_learns_continuous",
    "check_algo_learns_groups",
    "check_algo_learns_masked",
    "check_algo_learns_memory",
    "check_algo_learns_multi_binary",
    "check_algo_learns_multi_discrete",
    "check_algo_learns_value_beyond_time_limit",
    "check_algo_learns_value_of_own_episode",
]

_NUM_ENVS = 16
_VALUE_PATIENCE = 4
"""Values of 10 take more steps to learn than a choice does."""
_MEASUREMENTS = 50
"""The most often that a check looks whether its task is solved."""


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
    """Gets 70 % of the exclusive or of two observation groups right; either group alone gives 50 %."""
    return _check_return(subject, "toy-groups", least=0.7)


def check_algo_learns_masked(subject: Subject) -> str:
    """Picks the paying one of two allowed actions in 95 %, and never a forbidden one, which the bandit would tell."""
    return _check_return(subject, "toy-masked", least=0.95)


def check_algo_learns_memory(subject: Subject) -> str:
    """With networks that remember, gets 90 % of two questions right about a cue seen before; without it is 50 %."""
    learns(subject)
    if "discrete" not in supported_spaces(subject):
        raise Skip("it refuses discrete actions")
    return _check_return(recurrent(subject, "discrete"), "toy-memory", least=0.9)


def check_algo_learns_value_beyond_time_limit(subject: Subject) -> str:
    """A time limit is no end: the value of reward 1 for ever at gamma 0.9 is 10, to 5 %, not 4.1."""
    one, other = _values(subject, "toy-truncating", right=(10.0, 10.0))
    assert abs(one - 10) <= 0.5 and abs(other - 10) <= 0.5, (  # noqa: PT018
        f"the values of both states are {one:.2f} and {other:.2f}, expected 10; 4.1 or less means that a cut is taken "
        "for an end, another value that learning is too slow"
    )
    return f"{one:.2f} and {other:.2f}"


def check_algo_learns_value_of_own_episode(subject: Subject) -> str:
    """A cut episode goes on from its own last observation: the value is 10 where all pays 1, 0 where nothing does."""
    poor, rich = _values(subject, "toy-luck", right=(0.0, 10.0))
    assert abs(poor) <= 0.5 and abs(rich - 10) <= 0.5, (  # noqa: PT018
        f"episodes that pay 0 and 1 have the values {poor:.2f} and {rich:.2f}, expected 0 and 10; values in between "
        "mean that what comes after a cut is taken from the next episode: use Transition.next_obs"
    )
    return f"{poor:.2f} and {rich:.2f}"


def _values(subject: Subject, task: str, right: tuple[float, float]) -> list[float]:
    """What the critic thinks of the two states of a task, at gamma 0.9."""
    learns(subject)
    if "gamma" not in subject.component.config.model_fields:
        raise Skip("it has no option gamma")
    run = _start(subject, task, patience=_VALUE_PATIENCE, gamma=0.9)
    if not hasattr(run.algorithm, "value"):
        raise Skip("it has no critic that can be asked: no method value(obs) -> (N,)")
    target = torch.tensor(right)

    def error(run: Session) -> float:
        return float((_value(run).cpu() - target).abs().max())

    _train(run, error, lambda reached: reached <= 0.2)
    return _value(run).tolist()


def _check_return(subject: Subject, task: str, *, least: float) -> str:
    learns(subject)
    run = _start(subject, task)
    reached = _train(run, lambda run: _mean_return(run, task), lambda reached: reached >= least)
    assert reached >= least, (
        f"return {reached:.3f} after {run.env_steps} env steps, expected {least} or more; "
        "give the check options with which it learns fast, or more learning_steps"
    )
    return f"{reached:.3f} after {run.env_steps} env steps"


def _start(subject: Subject, task: str, *, patience: int = 1, **options: float) -> Session:
    env, env_steps = {"name": task, "num_envs": _NUM_ENVS}, patience * subject.learning_steps
    try:
        return build_run(subject, env, options={**subject.learning, **options}, env_steps=env_steps)
    except SpecError as error:
        raise Skip(f"it refuses the action space: {error}") from error


def _train(run: Session, measure: Callable[[Session], float], enough: Callable[[float], bool]) -> float:
    """Train until a measurement is good enough, or to the end of the budget; the last measurement."""
    every = run.blueprint.run.env_steps // _MEASUREMENTS
    for _ in iterate(run):
        before = run.env_steps - run.algorithm.horizon * run.num_envs
        if run.env_steps // every > before // every and enough(measure(run)):
            break
    return measure(run)


@torch.no_grad()
def _value(run: Session) -> Tensor:
    """The critic's values of the two one-hot observations (2,)."""
    return run.algorithm.value({"obs": torch.eye(2, device=run.env.info.device)})  # type: ignore[attr-defined,no-any-return]


@torch.no_grad()
def _mean_return(run: Session, task: str) -> float:
    """Mean return of the policy in 512 episodes."""
    env = make_toy(task, num_envs=64, device=str(run.env.info.device))
    return float(mean(play(env, run.algorithm.policy, run.recurrence, 512, seed=1).returns))


LEARNING_CHECKS = (
    check_algo_learns_bandit,
    check_algo_learns_continuous,
    check_algo_learns_multi_discrete,
    check_algo_learns_multi_binary,
    check_algo_learns_groups,
    check_algo_learns_masked,
    check_algo_learns_memory,
    check_algo_learns_value_beyond_time_limit,
    check_algo_learns_value_of_own_episode,
)
"""All of these checks."""
