"""Checks that what a spec states reaches an algorithm's update: normalizers, schedules and the optimiser's options."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import floor, log2
from typing import Any, cast
from unittest import mock

import torch
from torch import Tensor

from slmk.builtin.running import Running
from slmk.config import AlgorithmConfig, Linear
from slmk.errors import SpecError
from slmk.session import Session
from slmk.state import get_state
from slmk.testing.algorithm_runs import build_run, learn, learns, supported_spaces, trainable_parameters
from slmk.testing.compare import copy_of, first_difference
from slmk.testing.subject import Skip, Subject

__all__ = [
    "WIRING_CHECKS",
    "check_algo_normalizers",
    "check_algo_observation_statistics",
    "check_algo_optimiser_options",
    "check_algo_schedules",
]

_ENV_STEPS = 1_000_000
_PARALYSING = {"max_grad_norm": 1e-12, "adam_eps": 1e3}
"""Values of options with which an optimiser hardly moves what it trains."""


def check_algo_normalizers(subject: Subject) -> str:
    """Every normalizer that the config names is used: its statistics move within a few iterations."""
    roles = _normalizers(subject)
    if not roles:
        raise Skip("it has no normalizers")
    for role in roles:
        run = _run_with_normalizer(subject, role, {"name": "toy-probe", "action": next(supported_spaces(subject))})
        with _samples() as samples:
            learn(run, 2)
        assert samples, f"the config names the normalizer {role!r}, whose statistics never move"
    return ", ".join(roles)


def check_algo_observation_statistics(subject: Subject) -> None:
    """Where there is a normalizer ``obs``: every observation acted on counts once, and nothing else does."""
    if "obs" not in _normalizers(subject):
        raise Skip("it has no normalizer 'obs'")
    run = _bandit(subject)
    act, acted_on = run.algorithm.act, []

    def watched(obs: dict[str, Tensor], progress: float) -> Any:
        acted_on.append(obs["obs"].clone())
        return act(obs, progress)

    with _samples() as samples, mock.patch.object(run.algorithm, "act", watched):
        learn(run, 2)
    seen, expected = (torch.cat([each.flatten(0, -2) for each in rows]) for rows in (samples, acted_on))
    assert len(seen) == len(expected), f"{len(seen)} observations were counted, where {len(expected)} were acted on"
    assert sorted(seen.tolist()) == sorted(expected.tolist()), "other observations were counted than were acted on"


def check_algo_schedules(subject: Subject) -> str:
    """Options that change over the run follow progress: after a schedule's `until`, all is as with its `end` alone."""
    schedules = _schedules(subject)
    if not schedules:
        raise Skip("none of its options is a schedule")
    for name, schedule in schedules.items():
        results = []
        for value in (schedule.model_dump(), schedule.end):
            run = _probe(subject, {name: value})
            run.env_steps = _ENV_STEPS // 2
            results.append([*learn(run, 2), get_state(run.algorithm)])
        difference = first_difference(results[0], results[1])
        assert difference is None, (
            f"{name} does not follow its schedule: after half of the run {difference} is not what it is where {name} "
            f"is {schedule.end:g} throughout; use slmk.toolbox.schedules.at({name}, progress)"
        )
    return ", ".join(schedules)


def check_algo_optimiser_options(subject: Subject) -> str:
    """Options ``max_grad_norm`` and ``adam_eps`` reach the optimiser: it stalls with a tiny norm, or with a huge ε."""
    names = [name for name, value in _PARALYSING.items() if _taken(subject, name, value) is not None]
    if not names:
        raise Skip(f"it has no option {' or '.join(_PARALYSING)}")
    learns(subject)
    usual = _movement(subject, {})
    for name in names:
        moved = _movement(subject, {name: _PARALYSING[name]})
        assert moved < 0.1 * usual, (
            f"with {name} = {_PARALYSING[name]:g} parameters move {moved / usual:.2g} times as far as without, "
            "where they should hardly move; hand it to the optimiser"
        )
    return ", ".join(names)


@contextmanager
def _samples() -> Iterator[list[Tensor]]:
    """What the statistics of normalizers ``running`` are moved by, (*batch, *shape) each."""
    found: list[Tensor] = []
    move = Running.update

    def update(self: Running, x: Tensor) -> None:
        found.append(copy_of(x))
        move(self, x)

    with mock.patch.object(Running, "update", update):
        yield found


def _bandit(subject: Subject) -> Session:
    """A run of one-step episodes, after which there is nothing that looks like an observation to act on."""
    for env in ("toy-bandit", "toy-continuous"):
        try:
            return _run_with_normalizer(subject, "obs", {"name": env})
        except SpecError:
            continue
    raise Skip("it refuses the action spaces of toy-bandit and toy-continuous")


def _run_with_normalizer(subject: Subject, role: str, env: dict[str, Any]) -> Session:
    sections = {**subject.sections, "normalizer": {role: {"name": "running"}}}
    return build_run(replace(subject, sections=sections), {"num_envs": 4, **env})


def _probe(subject: Subject, options: dict[str, Any]) -> Session:
    env = {"name": "toy-probe", "num_envs": 4, "action": next(supported_spaces(subject))}
    return build_run(subject, env, options=options, env_steps=_ENV_STEPS)


def _movement(subject: Subject, options: dict[str, Any]) -> float:
    """How far the first update moves all trainable parameters, summed up."""
    run = _probe(subject, options)
    before = copy_of(trainable_parameters(run.algorithm))
    learn(run, 1)
    after = trainable_parameters(run.algorithm)
    return sum(float((after[name] - x).detach().abs().sum()) for name, x in before.items())


def _schedules(subject: Subject) -> dict[str, Linear]:
    """For each option that may be one: a schedule up to its present value, or the power of two below that.

    Powers of two, so that the last value is `end` to the last bit, however it is computed.
    """
    config, found = subject.config(), {}
    for name in type(config).model_fields:
        now = getattr(config, name)
        end = 2.0 ** floor(log2(now)) if isinstance(now, int | float) and now > 0 else 2.0**-6
        taken = _taken(subject, name, {"start": end / 1024, "end": end, "until": 0.25})
        if isinstance(taken, Linear):
            found[name] = taken
    return found


def _taken(subject: Subject, name: str, value: Any) -> object:
    """The option as the config keeps it, or None where it has none or refuses the value."""
    if name not in subject.component.config.model_fields:
        return None
    try:
        return getattr(subject.config(**{name: value}), name)
    except AssertionError:
        return None


def _normalizers(subject: Subject) -> tuple[str, ...]:
    return cast("type[AlgorithmConfig]", subject.component.config).normalizers


WIRING_CHECKS = (
    check_algo_normalizers,
    check_algo_observation_statistics,
    check_algo_schedules,
    check_algo_optimiser_options,
)
"""All of these checks."""
