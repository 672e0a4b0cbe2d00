"""Building a component of any kind and using it once, in this process."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from slmk.registry import Registry
from slmk.testing.algorithm_runs import build_probe_run, learn
from slmk.testing.env_steps import make_env, random_actions
from slmk.testing.subject import Subject

__all__ = ["exercise", "prepare", "subject_by_name"]


def exercise(subject: Subject) -> None:
    """Build the component and use it once."""
    _EXERCISES[subject.kind](subject)


def subject_by_name(kind: str, name: str, module: str, given: dict[str, Any]) -> Subject:
    """The component among the installed ones or in `module`: how another process finds it."""
    registry = Registry.discover()
    if name not in registry.names(kind):
        registry = Registry.from_modules([import_module(module)])
    return Subject.find(kind, name, registry, **given)


def prepare(subject: Subject) -> None:
    """Do what a session does before it imports an environment's backend; nothing for other kinds."""
    if subject.kind == "env":
        config: Any = subject.config()
        config.prepare()


def _env(subject: Subject) -> None:
    env = make_env(subject, num_envs=2, seed=0)
    env.reset()
    for action in islice(random_actions(env.info), 2):
        env.step(action)
    env.close()


def _algo(subject: Subject) -> None:
    run = build_probe_run(subject)
    learn(run, 1)
    run.close()


def _memory(subject: Subject) -> None:
    from slmk.testing.memory_feed import build_memory, fill

    fill(build_memory(subject, num_envs=2), num_envs=2, steps=3)


def _net(subject: Subject) -> None:
    from slmk.testing.network_checks import build_network, draw_inputs, supported_inputs

    inputs = next(supported_inputs(subject))
    network = build_network(subject, inputs)
    network(draw_inputs(inputs, (2,)))


def _normalizer(subject: Subject) -> None:
    normalizer = subject.target()(subject.config(), (3,))
    normalizer.update(torch.ones(4, 3))
    normalizer(torch.ones(4, 3))


def _reporter(subject: Subject) -> None:
    with TemporaryDirectory() as folder:
        subject.target()(subject.config(), Path(folder))


def _launcher(subject: Subject) -> None:
    subject.target()(subject.config())


_EXERCISES: dict[str, Callable[[Subject], None]] = {
    "env": _env,
    "algo": _algo,
    "memory": _memory,
    "net": _net,
    "normalizer": _normalizer,
    "reporter": _reporter,
    "launcher": _launcher,
}
