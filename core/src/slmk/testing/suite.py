"""Running every check that fits a component."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch

from slmk.registry import Registry, install_command, missing_modules
from slmk.testing.algorithm_checks import ALGORITHM_CHECKS
from slmk.testing.common_checks import COMMON_CHECKS
from slmk.testing.env_checks import ENV_CHECKS
from slmk.testing.launcher_checks import LAUNCHER_CHECKS
from slmk.testing.learning_checks import LEARNING_CHECKS
from slmk.testing.memory_checks import MEMORY_CHECKS
from slmk.testing.network_checks import NETWORK_CHECKS
from slmk.testing.normalizer_checks import NORMALIZER_CHECKS
from slmk.testing.report import Outcome, Report
from slmk.testing.reporter_checks import REPORTER_CHECKS
from slmk.testing.subject import Skip, Subject
from slmk.testing.wiring_checks import WIRING_CHECKS

__all__ = ["Check", "check", "check_subject", "checks_of", "run_check"]

Check = Callable[[Subject], str | None]
"""Raises AssertionError where a promise is broken and `Skip` where it does not apply; may return a remark."""


def check(
    kind: str,
    name: str,
    registry: Registry | None = None,
    *,
    each: Callable[[Outcome], None] = lambda outcome: None,
    **given: Any,
) -> Report:
    """Run every check that fits a component.

    Args:
        kind: a key of `slmk.component.KINDS`, such as ``algo``.
        name: the component's name in a spec.
        registry: where to look; the installed plugins by default.
        each: takes every outcome as soon as it is there; the suite can take minutes.
        given: ``options`` of the component, and what else `slmk.testing.subject.Subject` has.

    Raises:
        ValueError: there is no such kind.
        SpecError: no plugin offers the name.
        PluginError: the plugin that does is broken.
    """
    return check_subject(Subject.find(kind, name, registry, **given), each=each)


def check_subject(
    subject: Subject, promises: Iterable[str] | None = None, *, each: Callable[[Outcome], None] = lambda outcome: None
) -> Report:
    """Run checks on a component that has been found: all that fit, or those of some promises."""
    checks, outcomes = checks_of(subject.kind), []
    for word in checks if promises is None else promises:
        outcomes.append(_outcome(word, checks[word], subject))
        each(outcomes[-1])
    return Report(subject.kind, subject.component.name, outcomes)


def checks_of(kind: str, *, common: bool = True) -> dict[str, Check]:
    """Every check for components of a kind, by the promise's name, such as ``exact_resume``.

    Args:
        kind: a key of `slmk.component.KINDS`.
        common: with those that are the same for every kind.
    """
    checks = (*COMMON_CHECKS, *_CHECKS[kind]) if common else _CHECKS[kind]
    return {_promise(each.__name__, kind): each for each in checks}


def run_check(each: Check, subject: Subject) -> str:
    """Run one check on one torch thread, and return its remark.

    Raises:
        AssertionError: the promise is broken.
        Skip: the check does not apply.
    """
    if missing := missing_modules(subject.component):
        raise Skip(f"it needs {', '.join(missing)}: {install_command(subject.component)}")
    with _one_thread():
        return each(subject) or ""


def _outcome(word: str, each: Check, subject: Subject) -> Outcome:
    start = perf_counter()
    try:
        remark = run_check(each, subject)
    except Skip as skip:
        return Outcome(word, "skipped", str(skip), perf_counter() - start)
    except AssertionError as error:
        return Outcome(word, "failed", str(error) or _last_line(error), perf_counter() - start)
    except Exception as error:
        return Outcome(word, "failed", f"{type(error).__name__}: {error}\n{_last_line(error)}", perf_counter() - start)
    return Outcome(word, "ok", remark, perf_counter() - start)


def _last_line(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"at {frame.filename}:{frame.lineno}: {frame.line}"


def _promise(function: str, kind: str) -> str:
    return function.removeprefix("check_").removeprefix(f"{kind}_")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small tensors are fastest on one thread, and results then do not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_CHECKS: Mapping[str, tuple[Check, ...]] = {
    "env": ENV_CHECKS,
    "algo": (*ALGORITHM_CHECKS, *WIRING_CHECKS, *LEARNING_CHECKS),
    "net": NETWORK_CHECKS,
    "memory": MEMORY_CHECKS,
    "normalizer": NORMALIZER_CHECKS,
    "reporter": REPORTER_CHECKS,
    "launcher": LAUNCHER_CHECKS,
}
