"""The hooks a plugin may implement, one per kind of part. Their docstrings are the plugin author's manual.

A plugin is a distribution with an entry point in the group ``slmk`` that names a module; the module implements any of
the hooks below as plain functions marked with `slmk.hookimpl`. Hooks are called once, while a run is put together;
nothing is called through pluggy while it runs. The module must import quickly (< 50 ms) and must not import torch or a
simulator: that belongs into the module that `Component.target` names.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pluggy

if TYPE_CHECKING:
    import click

    from slmk.component import Component
    from slmk.findings import Check

__all__ = ["PROJECT", "hookimpl"]

PROJECT: Final = "slmk"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def slmk_env_backends() -> Iterable[Component]:  # type: ignore[empty-body]
    """Offer environment backends: adapters from a simulator to batches of N environments.

    The target is called as ``target(config, *, device, seed) -> slmk.protocols.Env`` with the frozen config (a
    subclass of `slmk.EnvConfig`), the `torch.device` on which tensors are to live, and an int that seeds everything
    random in the environments. Training and evaluation each get an instance of their own.

    Where import order matters (JAX's environment variables, Isaac Lab's app launcher), the config class overrides
    `EnvConfig.prepare`, which the kernel calls before it imports torch or the target.
    """


@hookspec
def slmk_algorithms() -> Iterable[Component]:  # type: ignore[empty-body]
    """Offer algorithms.

    The target is a class (or factory) with a static method ``roles(config, env) -> dict[str, Role]`` that says which
    networks it needs for an environment, called as ``target(config, env, parts) -> slmk.protocols.Algorithm`` with
    its frozen config (a subclass of `slmk.AlgorithmConfig`, or of `slmk.OffPolicyConfig` where it learns from samples),
    the `EnvInfo` and the `Parts` built for it. The config class states the kind of memory (`memory`), the normalizer
    roles and the network roles it can use, and its horizon, so that a spec is checked without importing the target.
    """


@hookspec
def slmk_networks() -> Iterable[Component]:  # type: ignore[empty-body]
    """Offer networks: observation groups in, features out.

    The target is called as ``target(config, inputs, role, generator) -> torch.nn.Module``: `inputs` maps each group
    the role reads to its Gymnasium space, `role` is the algorithm's `Role` (number of outputs, gain of the last
    layer), and `generator` draws the initial weights. The module's ``forward(obs)`` takes a dict of those groups,
    each ``(*batch, *shape)``, and returns ``(*batch, role.outputs)``; for a role with ``ensemble`` members
    ``(members, *batch, role.outputs)``, of those alone whose indices ``forward(obs, members=…)`` is given. A network
    that has no ensembles raises `slmk.SpecError` for such a role.

    A recurrent network has a subclass of `slmk.RecurrentNetworkConfig` as its config, ``carry``, the width of what it
    remembers, and ``advance(obs) -> (N, carry)``. In ``obs`` it finds ``carry``, from before an observation, and
    ``first``. Where the carry has one axis less than the other groups, (B, carry) against (L, B, …), it unrolls over L
    steps. What it remembers does not depend on ``role.extra``, which `advance` is not given: the value of an action
    needs the history of observations, but the action only where it is taken.
    """


@hookspec
def slmk_memories() -> Iterable[Component]:  # type: ignore[empty-body]
    """Offer memories.

    The target is called as ``target(config, env, horizon, generator) -> slmk.protocols.Memory`` with the `EnvInfo`,
    the number of vector steps between two calls of ``learn``, and the stream that sampling draws from. The config
    class (a subclass of `slmk.MemoryConfig`) states whether it offers ``take`` or ``sample``.
    """


@hookspec
def slmk_normalizers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Offer normalizers: modules that scale a quantity by statistics, which are buffers of theirs.

    The target is called as ``target(config, shape) -> slmk.protocols.Normalizer`` with the shape of one sample, such
    as ``(17,)`` for an observation group or ``()`` for rewards, advantages and values.
    """


@hookspec
def slmk_reporters() -> Iterable[Component]:  # type: ignore[empty-body]
    """Offer reporters: consumers of metrics rows, which write or show them.

    The target is called as ``target(config, directory) -> slmk.protocols.Reporter`` with the directory it may write
    to: the seed's own for reporters with ``scope = "seed"``, the run's for those with ``scope = "trial"``. A reporter
    that raises is switched off with a warning; the run goes on. One without whose files a run is worth nothing, as the
    kernel's own ``jsonl``, raises `slmk.RunError` where it cannot write them: that ends the run, which can be resumed.
    """


@hookspec
def slmk_launchers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Offer launchers: ways to run the seeds of a trial, such as local processes or a cluster.

    The target is called as ``target(config) -> slmk.protocols.Launcher``.
    """


@hookspec
def slmk_commands() -> Iterable[click.Command]:  # type: ignore[empty-body]
    """Offer sub-commands of ``slmk``, as click commands. Import heavy modules inside the command's function."""


@hookspec
def slmk_checks() -> Iterable[Check]:  # type: ignore[empty-body]
    """Offer checks of the machine, which ``slmk doctor`` calls after its own: functions that give `Finding` objects.

    The hook is called for every command, a check by the doctor alone. Import heavy modules inside the check.
    """
