"""The algorithm under test with networks that remember."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from slmk.config import AlgorithmConfig
from slmk.testing.algorithm_runs import build_probe_run
from slmk.testing.subject import Skip, Subject

__all__ = ["recurrent"]

SEQUENCE = 4
"""Steps to learn from together, where the algorithm's horizon leaves a choice."""


def recurrent(subject: Subject, **options: Any) -> Subject:
    """The algorithm with a network that remembers in every role, and sequences to train on.

    Args:
        subject: the algorithm.
        options: further ones, over those of the subject.

    Raises:
        Skip: it has no networks, or no memory from which they could learn.
    """
    config = cast("type[AlgorithmConfig]", subject.component.config)
    if not config.roles or config.memory == "none":
        raise Skip("it trains no networks")
    subject = replace(subject, options={**subject.options, **options})
    network = {"name": "toy-recurrent", "window": _window(subject)}
    sections = {**subject.sections, "network": dict.fromkeys(config.roles, network)}
    if config.memory == "sample":
        sections["memory"] = _sequences(subject)
    return replace(subject, sections=sections)


def _window(subject: Subject) -> int:
    """Steps into which a rollout splits; all of a short one."""
    run = build_probe_run(subject)
    run.close()
    horizon = run.algorithm.horizon
    return next((steps for steps in range(SEQUENCE, horizon) if horizon % steps == 0), horizon)


def _sequences(subject: Subject) -> Mapping[str, Any]:
    """The subject's own memory where it can draw sequences, and the toy otherwise."""
    given = subject.sections.get("memory", {})
    if given and "sequence" in subject.registry.component("memory", given["name"]).config.model_fields:
        return {**given, "sequence": SEQUENCE}
    return {"name": "toy-sample", "sequence": SEQUENCE}
