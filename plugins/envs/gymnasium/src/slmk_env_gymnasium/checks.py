"""What ``slmk doctor`` looks at for Gymnasium: the simulators of its own environments."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from slmk.findings import Finding

__all__ = ["simulators"]

_MODULES = {"classic-control": "pygame", "box2d": "Box2D", "mujoco": "mujoco"}
"""What each extra of the plugin is there for. Classic control needs its own only to be drawn."""


def simulators() -> Iterator[Finding]:
    """One finding for those that are there, and one for each that is not."""
    missing = [extra for extra, module in _MODULES.items() if find_spec(module) is None]
    there = [module for extra, module in _MODULES.items() if extra not in missing]
    if there:
        yield Finding("ok", "gymnasium", f"has {', '.join(there)}")
    for extra in missing:
        advice = f"if you want it: pip install 'slmk-env-gymnasium[{extra}]'"
        yield Finding("note", "gymnasium", f"{_MODULES[extra]} is not installed", advice)
