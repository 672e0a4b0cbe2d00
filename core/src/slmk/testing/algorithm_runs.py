"""Runs on toy environments in this process: what checks of algorithms are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, cast

from torch import Tensor, nn

from slmk.config import AlgorithmConfig
from slmk.errors import SpecError
from slmk.learner import Learner
from slmk.loop import iterate
from slmk.protocols import Metrics
from slmk.session import Session
from slmk.spec import Blueprint, load
from slmk.testing.probe import ACTION_SPACES
from slmk.testing.subject import Skip, Subject

__all__ = [
    "build_probe_run",
    "build_run",
    "first_of_each",
    "learn",
    "learns",
    "supported_spaces",
    "trainable_parameters",
]

HORIZON = 64
"""Where an algorithm has a longer rollout by default, checks shorten it to this many vector steps."""
WARM_UP = 20_000
"""Environment steps within which an algorithm has to begin to learn."""
_MEMORIES = {"take": "toy-take", "sample": "toy-sample"}


def build_run(
    subject: Subject,
    env: Mapping[str, Any],
    *,
    sections: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    env_steps: int = 1_000_000,
    seed: int = 0,
) -> Session:
    """A run of the algorithm on `env`, eager, with toy parts for all that the subject does not state.

    Args:
        subject: the algorithm.
        env: the section ``[env]``.
        sections: further sections, before those of the subject.
        options: further options of the algorithm, over those of the subject.
        env_steps: the budget.
        seed: of the session.

    Raises:
        SpecError: the algorithm refuses the environment's spaces.
        AssertionError: the options are wrong, whatever the spaces.
    """
    return Session(_blueprint(subject, env, sections or {}, options or {}, env_steps), seed, subject.registry)


def build_probe_run(subject: Subject, action: str | None = None, num_envs: int = 4, **env: Any) -> Session:
    """A run on the probe; with the first action space that the algorithm supports, unless `action` names one."""
    action = action or next(supported_spaces(subject))
    return build_run(subject, {"name": "toy-probe", "num_envs": num_envs, "action": action, **env})


def supported_spaces(subject: Subject) -> Iterator[str]:
    """The names of the action spaces for which the algorithm can be built."""
    for name in ACTION_SPACES:
        try:
            build_run(subject, {"name": "toy-probe", "num_envs": 4, "action": name}).close()
        except SpecError:
            continue
        yield name


def first_of_each(subject: Subject) -> list[str]:
    """A discrete and a continuous action space, of those that the algorithm supports; or whatever it does support."""
    supported = list(supported_spaces(subject))
    return [name for name in supported if name in ("discrete", "box")] or supported[:1]


def learn(run: Session, iterations: int) -> list[Metrics]:
    """Go on until `learn` has returned metrics that many times; what comes before it has any is warm-up.

    Raises:
        AssertionError: learning did not begin.
    """
    if run.memory is None:
        return list(islice(iterate(run), iterations))
    until, made = run.env_steps + WARM_UP, []
    for metrics in iterate(run):
        if metrics:
            made.append(metrics)
        if len(made) == iterations or run.env_steps >= until:
            break
    assert made, f"learn returned no metrics within {WARM_UP} env steps; give the check options with a shorter warm-up"
    return made


def trainable_parameters(algorithm: object) -> dict[str, Tensor]:
    """Every parameter that requires a gradient, in the algorithm's modules and learners, by name."""
    return dict(_parameters("", vars(algorithm)))


def learns(subject: Subject) -> None:
    """Skip the check where the algorithm has nothing to train."""
    run = build_probe_run(subject)
    run.close()
    if not trainable_parameters(run.algorithm):
        raise Skip("it has no trainable parameters")


def _parameters(name: str, part: object) -> Iterator[tuple[str, Tensor]]:
    match part:
        case nn.Module():
            yield from ((f"{name}.{n}", p) for n, p in part.named_parameters() if p.requires_grad)
        case Learner():
            yield from ((f"{name}.{n}", p) for n, p in part.parameters.items())
        case Mapping():
            for key, value in part.items():
                yield from _parameters(f"{name}.{key}" if name else str(key), value)
        case list() | tuple():
            for index, value in enumerate(part):
                yield from _parameters(f"{name}[{index}]", value)


def _blueprint(
    subject: Subject,
    env: Mapping[str, Any],
    sections: Mapping[str, Any],
    options: Mapping[str, Any],
    env_steps: int,
) -> Blueprint:
    config = cast("type[AlgorithmConfig]", subject.component.config)
    algorithm = {"name": subject.component.name, **_short(config), **subject.options, **options}
    spec: dict[str, Any] = {
        "run": {"env_steps": env_steps, "compile": "off", "eval_episodes": 0},
        "env": dict(env),
        "algorithm": algorithm,
        "network": {role: {"name": "toy-mlp"} for role in config.roles},
    }
    if config.memory != "none":
        spec["memory"] = {"name": _MEMORIES[config.memory]}
    try:
        return load({**spec, **sections, **subject.sections}, registry=subject.registry)
    except SpecError as error:
        raise AssertionError(f"these options do not fit the check; give it others:\n{error}") from error


def _short(config: type[AlgorithmConfig]) -> dict[str, int]:
    field = config.model_fields.get("horizon")
    return {"horizon": min(HORIZON, field.default)} if field and isinstance(field.default, int) else {}
