"""Mistakes that show only when sections are looked at together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from slmk import discovery
from slmk.component import Component
from slmk.config import AlgorithmConfig, Config, MemoryConfig, RecurrentNetworkConfig
from slmk.errors import did_you_mean
from slmk.registry import Registry
from slmk.spec.diagnostics import Diagnostics
from slmk.spec.lines import KeyPath
from slmk.spec.sections import Sections

__all__ = ["cross_check"]


def cross_check(sections: Sections, data: Mapping[str, Any], registry: Registry, diagnostics: Diagnostics) -> None:
    """Report what does not go together: the algorithm's memory, its networks, its normalizers, each part's own rules.

    Networks that remember need sequences to train on.

    What an algorithm needs is known from its name, so mistakes in its options hide none of these.
    """
    algorithm = sections.chosen.get(("algorithm",))
    if algorithm is not None:
        memory = sections.chosen.get(("memory",))
        _check_memory(algorithm, memory, "memory" in data, registry, diagnostics)
        _check_networks(algorithm, _roles(data, "network"), diagnostics)
        _report_unused(
            "normalizer", algorithm.name, _options(algorithm).normalizers, _roles(data, "normalizer"), diagnostics
        )
    was_right = not diagnostics.problems
    with _asked(("algorithm",), diagnostics, was_right=was_right):
        _check_sequences(sections, diagnostics)
    spec = sections.configs()
    for path, part in sections.parts():
        with _asked(path, diagnostics, was_right=was_right):
            _ask(path, part.config, spec, diagnostics)


def _options(algorithm: Component) -> type[AlgorithmConfig]:
    return cast("type[AlgorithmConfig]", algorithm.config)


def _roles(data: Mapping[str, Any], section: str) -> tuple[str, ...]:
    tables = data.get(section, {})
    return tuple(tables) if isinstance(tables, Mapping) else ()


def _check_memory(
    algorithm: Component, memory: Component | None, present: bool, registry: Registry, diagnostics: Diagnostics
) -> None:
    need = _options(algorithm).memory
    expected = f"a memory that offers '{need}'"
    hint = f"such memories: {', '.join(_memories(need, registry)) or 'none is installed'}"
    if need == "none":
        return
    if not present:
        message = f"missing section: the algorithm '{algorithm.name}' needs a memory"
        diagnostics.report(("memory",), message, absent=True, expected=expected, hint=hint)
    elif memory is not None and (offers := _offers(memory)) != need:
        message = f"the algorithm '{algorithm.name}' cannot use the memory '{memory.name}'"
        found = f"one that offers '{offers}'"
        diagnostics.report(("memory", "name"), message, expected=expected, found=found, hint=hint)


def _offers(memory: Component) -> str:
    return cast("type[MemoryConfig]", memory.config).offers


def _memories(need: str, registry: Registry) -> list[str]:
    memories = (registry.find("memory", name) for name in registry.names("memory"))
    return [found.name for found in memories if isinstance(found, Component) and _offers(found) == need]


def _check_networks(algorithm: Component, roles: tuple[str, ...], diagnostics: Diagnostics) -> None:
    needed = _options(algorithm).roles
    for role in needed:
        if role not in roles:
            message = f"missing section: the algorithm '{algorithm.name}' needs a network for the role '{role}'"
            diagnostics.report(("network", role), message, absent=True, hint=f"add a table [network.{role}]")
    _report_unused("network", algorithm.name, needed, roles, diagnostics)


def _report_unused(
    section: str, name: str, known: tuple[str, ...], roles: tuple[str, ...], diagnostics: Diagnostics
) -> None:
    for role in roles:
        if role not in known:
            hint = did_you_mean(role, known) or f"its roles: {', '.join(known) or 'none'}"
            message = f"the algorithm '{name}' has no {section} role '{role}'"
            diagnostics.report((section, role), message, hint=hint)


def _check_sequences(sections: Sections, diagnostics: Diagnostics) -> None:
    """Networks that remember are trained on windows of rollouts, or on sequences that the memory samples."""
    configs = {role: part.config for role, part in sections.network.items()}
    windows = {role: config.window for role, config in configs.items() if isinstance(config, RecurrentNetworkConfig)}
    if sections.memory is None:  # As for a policy, which is not trained.
        return
    memory = sections.memory.config
    if memory.offers == "take":
        _check_windows(windows, sections, diagnostics)
    elif getattr(memory, "sequence", 1) == 1:
        for role in windows:
            message = "trained on single transitions it learns to remember nothing"
            diagnostics.report(("network", role), message, hint="set memory.sequence to more than 1")


def _check_windows(windows: Mapping[str, int], sections: Sections, diagnostics: Diagnostics) -> None:
    """A rollout is cut once, for all roles, into windows that fill its horizon and every minibatch."""
    chosen = sections.chosen.get(("algorithm",))
    if chosen is not None and not _options(chosen).windowed:
        return
    each = sorted(set(windows.values()))
    for role, window in windows.items():
        if len(each) > 1:
            words = ", ".join(map(str, each))
            message = f"the roles have windows of {words} steps, but a rollout is cut once, for all of them"
        else:
            message = _unfilled(window, sections)
        if message:
            diagnostics.report(("network", role, "window"), message)


def _unfilled(window: int, sections: Sections) -> str:
    """What windows of so many steps do not fill; empty where they do, or where the algorithm's options are wrong."""
    if sections.algorithm is None:
        return ""
    algorithm, env = sections.algorithm.config, sections.env
    horizon, minibatches = algorithm.horizon, getattr(algorithm, "minibatches", 1) or 1
    if horizon % window:
        return f"the algorithm's horizon of {horizon} steps is not a multiple of {window}"
    if env is not None and (count := horizon // window * env.config.num_envs) % minibatches:
        return f"{count} windows (horizon / window × num_envs) do not split into {minibatches} minibatches"
    return ""


def _ask(path: KeyPath, config: Config, spec: Mapping[str, Any], diagnostics: Diagnostics) -> None:
    """A part's own rules."""
    for key, message in config.problems(spec):
        inner = tuple(key.split(".")) if key else ()
        diagnostics.report((*path, *inner), message)


@contextmanager
def _asked(path: KeyPath, diagnostics: Diagnostics, *, was_right: bool) -> Iterator[None]:
    """Say of a plugin that it cannot be asked about its options; but not where the spec's mistakes may be the cause."""
    try:
        yield
    except Exception as error:
        if was_right:
            reason, _ = discovery.failure(error)
            diagnostics.report(path, f"the plugin cannot check its options: {reason}", broken=True)
