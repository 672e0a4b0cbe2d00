"""The algorithm under test with networks that remember."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from slmk.config import AlgorithmConfig
from slmk.errors import SpecError
from slmk.testing.algorithm_runs import build_probe_run
from slmk.testing.subject import Skip, Subject

__all__ = ["recurrent", "recurrent_roles"]

SEQUENCE = 4
"""Steps to learn from together, where the algorithm's horizon leaves a choice."""
NETWORK = "toy-recurrent"


def recurrent(subject: Subject, action: str) -> Subject:
    """The algorithm with networks that remember, and sequences to train on.

    They play all roles, or else, where the algorithm refuses that for an action space, the first one alone, which acts.

    Args:
        subject: the algorithm.
        action: a key of `slmk.testing.probe.ACTION_SPACES`.

    Raises:
        Skip: it has no networks, or no memory from which they could learn, or refuses them.
    """
    config = _config(subject)
    if not config.roles or config.memory == "none":
        raise Skip("it trains no networks")
    refusal: SpecError | None = None
    for roles in (config.roles, config.roles[:1]):
        candidate = _with_networks(subject, roles)
        try:
            build_probe_run(candidate, action).close()
        except SpecError as error:
            refusal = refusal or error
        else:
            return candidate
    raise Skip(f"it refuses recurrent networks: {refusal}")


def recurrent_roles(subject: Subject) -> tuple[str, ...]:
    """The roles that remember, of what `recurrent` made."""
    return tuple(role for role, table in subject.sections["network"].items() if table["name"] == NETWORK)


def _with_networks(subject: Subject, roles: tuple[str, ...]) -> Subject:
    subject = _with_single_steps(subject)
    given = {role: {"name": "toy-mlp"} for role in _config(subject).roles} | dict(subject.sections.get("network", {}))
    remembering = {"name": NETWORK, "window": _window(subject)}
    networks = given | dict.fromkeys(roles, remembering)
    return replace(subject, sections={**subject.sections, **dict(_memory(subject)), "network": networks})


def _with_single_steps(subject: Subject) -> Subject:
    """Sequences have one-step rewards, whatever the options of the algorithm say."""
    one = {"n_step": 1} if "n_step" in _config(subject).model_fields else {}
    return replace(subject, options={**subject.options, **one}, learning={**subject.learning, **one})


def _window(subject: Subject) -> int:
    """Steps into which rollouts split, those of the tasks to be learned too; all of a short one."""
    probe = build_probe_run(subject)
    probe.close()
    horizon = subject.learning.get("horizon", probe.algorithm.horizon)
    both = [n for n in range(1, horizon + 1) if horizon % n == 0 == probe.algorithm.horizon % n]
    return next((n for n in both if n >= SEQUENCE), both[-1])


def _memory(subject: Subject) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Of an algorithm that samples: its own memory where that can draw sequences, and the toy otherwise."""
    given = subject.sections.get("memory", {})
    if _config(subject).memory != "sample":
        return
    if given and "sequence" in subject.registry.component("memory", given["name"]).config.model_fields:
        yield "memory", {**given, "sequence": SEQUENCE}
    else:
        yield "memory", {"name": "toy-sample", "sequence": SEQUENCE}


def _config(subject: Subject) -> type[AlgorithmConfig]:
    return cast("type[AlgorithmConfig]", subject.component.config)
