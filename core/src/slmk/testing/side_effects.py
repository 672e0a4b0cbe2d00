"""What a process shares with everybody in it, and observing from outside whether a plugin changes any of that.

This module is imported by processes that must not import torch: it looks only at libraries that are there already.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib import import_module
from time import process_time
from typing import Any

from slmk.testing.processes import call_alone

__all__ = ["LightImport", "changes", "changes_of_use", "import_alone", "snapshot"]

NUMPY = "numpy's global random state"
LightImport = dict[str, Any]
"""``seconds`` of CPU time, ``modules`` that were imported, and ``changes`` of shared state."""


def snapshot() -> dict[str, object]:
    """Process-wide state by a name for people; values are compared and never shown."""
    facts: dict[str, object] = {f"the environment variable {k}": v for k, v in os.environ.items()}
    facts |= {f"file descriptor {number}": _file(number) for number in (0, 1, 2)}
    facts |= {"sys.stdout": id(sys.stdout), "sys.stderr": id(sys.stderr), "the working directory": os.getcwd()}
    facts |= {f"the handler of {each.name}": signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    if "numpy.random" in sys.modules:
        facts |= _of_numpy(sys.modules["numpy"])
    if "torch.random" in sys.modules:
        facts |= _of_torch(sys.modules["torch"])
    return facts


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The names of what is not as it was. What a library brings with its first import is no change."""
    shared = [name for name in before if name in after or name.startswith("the environment")]
    added = [name for name in after if name not in before and name.startswith("the environment")]
    return [name for name in shared if before[name] != after.get(name)] + added


def import_alone(module: str) -> LightImport:
    """Import a plugin module after what the kernel itself needs, in a fresh process, and tell what that took.

    Raises:
        RuntimeError: the import fails; the message is the traceback.
    """
    told: LightImport = call_alone(f"{__name__}:_import_here", module)
    return told


def _import_here(module: str) -> LightImport:
    import slmk.registry  # noqa: F401 - the kernel's own share
    from slmk import AlgorithmConfig, Component, SpecError, hookimpl  # noqa: F401

    known, before = set(sys.modules), snapshot()
    start = process_time()
    import_module(module)
    seconds = process_time() - start
    return {
        "seconds": seconds,
        "modules": sorted(set(sys.modules) - known),
        "changes": changes(before, snapshot()),
    }


def changes_of_use(*arguments: Any) -> list[str]:
    """What importing, building and using a component once changes; see `slmk.testing.exercise.subject_by_name`.

    What an environment's ``prepare`` sets is meant to be set. What a library draws from numpy's global generator while
    it is imported for the first time, as JAX does, comes before anything that is to be repeatable.
    """
    from slmk.testing.exercise import exercise, prepare, subject_by_name

    before = snapshot()
    subject = subject_by_name(*arguments)
    found = changes(before, snapshot())
    prepare(subject)
    before = snapshot()
    subject.target()
    imported = [name for name in changes(before, snapshot()) if name != NUMPY]
    before = snapshot()
    exercise(subject)
    return found + imported + changes(before, snapshot())


def _file(number: int) -> object:
    try:
        found = os.fstat(number)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_rdev


def _of_numpy(numpy: Any) -> dict[str, object]:
    return {NUMPY: repr(numpy.random.get_state(legacy=False))}


def _of_torch(torch: Any) -> dict[str, object]:
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's precision of matrix products": torch.get_float32_matmul_precision(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "torch's global random state": sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
    }
