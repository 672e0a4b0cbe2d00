"""The contract suite: proof that a plugin keeps the promises of `slmk.protocols`.

``check(kind, name)`` runs everything that fits a component and gives a printable report (``slmk check-plugin`` prints
it); the contract classes make each promise a test for pytest. The checks themselves are plain functions in
``slmk.testing.<kind>_checks``. Everything is imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slmk.testing.contracts import AlgorithmContract as AlgorithmContract
    from slmk.testing.contracts import EnvContract as EnvContract
    from slmk.testing.contracts import LauncherContract as LauncherContract
    from slmk.testing.contracts import MemoryContract as MemoryContract
    from slmk.testing.contracts import NetworkContract as NetworkContract
    from slmk.testing.contracts import NormalizerContract as NormalizerContract
    from slmk.testing.contracts import ReporterContract as ReporterContract
    from slmk.testing.report import Outcome as Outcome
    from slmk.testing.report import Report as Report
    from slmk.testing.subject import Skip as Skip
    from slmk.testing.subject import Subject as Subject
    from slmk.testing.suite import check as check
    from slmk.testing.suite import check_subject as check_subject
    from slmk.testing.suite import checks_of as checks_of
    from slmk.testing.timing import throughput as throughput

_HOMES = {
    "contracts": (
        "AlgorithmContract",
        "EnvContract",
        "LauncherContract",
        "MemoryContract",
        "NetworkContract",
        "NormalizerContract",
        "ReporterContract",
    ),
    "report": ("Outcome", "Report"),
    "subject": ("Skip", "Subject"),
    "suite": ("check", "check_subject", "checks_of"),
    "timing": ("throughput",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slmk.testing' has no attribute {name!r}")
    return getattr(import_module(f"slmk.testing.{_HOME_OF[name]}"), name)
