"""What a run is made with, for ``manifest.json``: the command, the code, the machine, and the versions of libraries."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from slmk import world
from slmk.baseline import random_return
from slmk.registry import get_registry
from slmk.spec import Blueprint

__all__ = ["distributions_of", "manifest"]

_NAME = re.compile(r"[\w.-]+")


def manifest(blueprint: Blueprint, seeds: Sequence[int]) -> dict[str, Any]:
    """Where, with what and by which command a run of these seeds is made, as JSON types."""
    return {
        "slmk": metadata.version("slmk"),
        "name": blueprint.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "device": blueprint.run.device,
        "processes": world.size(),
        "versions": _versions(blueprint),
        "seeds": list(seeds),
        "env_steps": blueprint.run.env_steps,
        "env": {"name": blueprint.env.component.name, **blueprint.env.config.model_dump(mode="json")},
        "algorithm": blueprint.algorithm.component.name,
        "target": blueprint.target.model_dump() if blueprint.target else None,
        "random_return": random_return(blueprint.directory, blueprint.env.resolved()),
    }


def distributions_of(modules: Iterable[str]) -> dict[str, str]:
    """The versions of the distributions that modules belong to, by name; without those of which none is known.

    Nothing is imported; of ``a.b`` only ``a`` is looked up.
    """
    found = {}
    for module in modules:
        name = module.partition(".")[0]
        if _about(name) is None:  # Its distribution has another name. To look for it takes half a second.
            name = next(iter(metadata.packages_distributions().get(name, [])), name)
        if about := _about(name):
            found[about.name] = about.version
    return found


def _versions(blueprint: Blueprint) -> dict[str, str]:
    """Of what decides a result: slmk, the plugins of the spec's parts, and the modules that these need to be there,
    such as a simulator; and of what each of those says it requires, as far as that is installed."""
    parts = (
        blueprint.env,
        blueprint.algorithm,
        blueprint.memory,
        *blueprint.networks.values(),
        *blueprint.normalizers.values(),
        blueprint.launcher,
    )
    components = [part.component for part in parts if part is not None]
    owners = {"slmk", *map(get_registry().distribution_of, components)}
    needed = distributions_of({module for component in components for module in component.requires})
    roots = [about for name in (*owners, *needed) if (about := _about(name))]
    required = [about for root in roots for name in _required(root) if (about := _about(name))]
    return dict(sorted({about.name: about.version for about in (*roots, *required)}.items()))


def _required(distribution: metadata.Distribution) -> Iterator[str]:
    """Names of what it requires itself, for any of its extras."""
    for requirement in distribution.requires or ():
        if name := _NAME.match(requirement):
            yield name[0]


def _about(name: str) -> metadata.Distribution | None:
    with suppress(metadata.PackageNotFoundError, ValueError):
        return metadata.distribution(name)
    return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
