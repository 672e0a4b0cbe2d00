"""From a blueprint to parts: the one place where components are imported and joined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from gymnasium import spaces
from torch import nn

from slmk import world
from slmk.batch import CARRY, FIRST, MASK
from slmk.config import EnvConfig, RecurrentNetworkConfig
from slmk.env_info import EnvInfo
from slmk.errors import PluginError, Problem, SpecError, did_you_mean
from slmk.model import Model
from slmk.protocols import Algorithm, Env, Memory, Parts, Role
from slmk.recurrence import Recurrence
from slmk.registry import Registry, get_registry
from slmk.spec import Blueprint, Part, PolicyBlueprint
from slmk.streams import Streams

__all__ = ["Agent", "build_agent", "build_env", "build_memory", "in_common", "resolve_device", "task_of"]


@dataclass(frozen=True, slots=True)
class Agent:
    """An algorithm, and what its recurrent networks need from whoever calls it."""

    algorithm: Algorithm
    recurrence: Recurrence


def resolve_device(name: str) -> torch.device:
    """The torch device of that name.

    Raises:
        SpecError: the name is not one of a device, or the device is not there, or cannot do what is needed.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device, dtype=torch.float64)  # Which optimisers count in, and Apple's GPUs do not have.
    except (RuntimeError, AssertionError, TypeError) as error:
        message, reason = "not a device that can be used here", str(error).splitlines()[0]
        raise SpecError([Problem(message, "run.device", found=name, hint=reason)]) from error
    return device


def build_env(blueprint: Blueprint, *, num_envs: int | None = None, seed: int, registry: Registry | None = None) -> Env:
    """The environments of a blueprint; with `num_envs`, as many for evaluation."""
    component, config = blueprint.env.component, blueprint.env.config
    if num_envs is not None:
        config = config.for_evaluation(num_envs)
    target: Any = (registry or get_registry()).load(component)
    return target(config, device=resolve_device(blueprint.run.device), seed=seed)  # type: ignore[no-any-return]


def build_agent(
    blueprint: PolicyBlueprint, env: EnvInfo, streams: Streams, registry: Registry | None = None, env_steps: int = 0
) -> Agent:
    """The algorithm of a blueprint with its networks and normalizers, for environments as described by `env`.

    Args:
        blueprint: of a run, or of a policy alone.
        env: what the algorithm may know of the environments.
        streams: where random numbers come from.
        registry: where components come from; the process's own by default.
        env_steps: the budget of the run; 0 where none is to be trained.

    Raises:
        SpecError: a role reads a group that the environment does not have, a group has the name of something else or
            is a mask that does not fit, or the algorithm refuses the spaces.
        PluginError: the algorithm has networks that its config does not name, or no attribute ``learner``; or a network
            remembers and its config has no window.
    """
    registry = registry or get_registry()
    target: Any = registry.load(blueprint.algorithm.component)
    name, config = blueprint.algorithm.component.name, blueprint.algorithm.config
    roles: dict[str, Role] = target.roles(config, env) if hasattr(target, "roles") else {}
    if unknown := sorted(set(roles) - set(config.roles)):
        message = f"algorithm '{name}' has networks for {', '.join(unknown)}, which the roles of its config do not name"
        raise PluginError(message)
    groups = {role: _groups_of(blueprint, role, env) for role in roles}
    model = Model(
        {role: _build_network(blueprint, role, roles[role], groups[role], env, streams, registry) for role in roles},
        groups,
        _obs_normalizers(blueprint, env, {name for names in groups.values() for name in names}, registry),
        {role: tuple(roles[role].extra) for role in roles},
        _window(blueprint),
    ).to(env.device)
    _check_names(env, roles, groups, recurrent=bool(model.recurrent))
    _check_mask(env)
    parts = Parts(
        model=model,
        normalizers=_other_normalizers(blueprint, env, registry),
        generator=streams.generator("policy", env.device),
        compile=blueprint.run.compile,
        env_steps=env_steps,
        iterations=ceil(env_steps / (config.horizon * env.num_envs * world.size())),
    )
    algorithm: Algorithm = target(config, env, parts)
    if not hasattr(algorithm, "learner"):
        raise PluginError(f"algorithm '{name}' has no attribute 'learner', by which its gradient steps are counted")
    return Agent(algorithm, Recurrence(model))


def _other_normalizers(blueprint: PolicyBlueprint, env: EnvInfo, registry: Registry) -> dict[str, Any]:
    """Those of single numbers, such as returns, by role: all but that of observations."""
    parts = {role: part for role, part in blueprint.normalizers.items() if role != "obs"}
    made = {role: registry.load(part.component)(part.config, ()) for role, part in parts.items()}
    return {role: in_common(normalizer).to(env.device) for role, normalizer in made.items()}


def in_common(normalizer: Any) -> Any:
    """A normalizer whose `update` gets the samples of all processes of a world, so that it need not know of them."""
    if world.size() > 1:
        alone = normalizer.update
        normalizer.update = lambda x: alone(world.gathered(x))
    return normalizer


def build_memory(
    blueprint: Blueprint, env: EnvInfo, horizon: int, streams: Streams, registry: Registry | None = None
) -> Memory | None:
    """The memory of a blueprint, or None where the algorithm needs none."""
    if blueprint.memory is None:
        return None
    target: Any = (registry or get_registry()).load(blueprint.memory.component)
    generator = streams.generator("memory", env.device)
    told = replace(env, task=task_of(blueprint.env))
    return target(blueprint.memory.config, told, horizon, generator)  # type: ignore[no-any-return]


def task_of(env: Part[EnvConfig], num_envs: int | None = None) -> dict[str, Any]:
    """What `EnvInfo.task` says of the section ``[env]``; with `num_envs`, of as many for evaluation."""
    config = env.config if num_envs is None else env.config.for_evaluation(num_envs)
    return {"name": env.component.name, **config.task()}


def _groups_of(blueprint: PolicyBlueprint, role: str, env: EnvInfo) -> tuple[str, ...]:
    """The observation groups a role reads: as the spec says, or the environment, or all but the mask."""
    wanted = blueprint.networks[role].config.obs
    known = env.observation_spaces
    problems = [
        Problem(
            "the environment has no such observation group",
            f"network.{role}.obs",
            expected=" or ".join(known),
            found=name,
            hint=did_you_mean(name, known),
        )
        for name in wanted
        if name not in known
    ]
    if problems:
        raise SpecError(problems)
    is_masked = not isinstance(env.action_space, spaces.Box)
    return wanted or env.role_groups.get(role) or tuple(name for name in known if name != MASK or not is_masked)


def _check_names(env: EnvInfo, roles: dict[str, Role], groups: dict[str, tuple[str, ...]], *, recurrent: bool) -> None:
    """Refuse groups whose name is that of something else which networks are told besides."""
    taken = {name for role, names in groups.items() for name in names if name in roles[role].extra}
    if recurrent:
        taken |= {name for name in env.observation_spaces if name == FIRST or f"{name}/".startswith(CARRY)}
    message = "networks are told something else under the name of this observation group"
    hint = "rename it in the environment"
    problems = [Problem(message, "env", expected="another name", found=name, hint=hint) for name in sorted(taken)]
    if problems:
        raise SpecError(problems)


def _check_mask(env: EnvInfo) -> None:
    """Refuse a mask that is not one of the discrete actions. Where actions are continuous it is a group like others."""
    mask = env.observation_spaces.get(MASK)
    if mask is None:
        return
    match env.action_space:
        case spaces.Discrete(n=n):
            choices = int(n)
        case spaces.MultiDiscrete(nvec=nvec):
            choices = int(nvec.sum())
        case spaces.MultiBinary():
            choices = 0
        case _:
            return
    if mask.shape != (choices,):
        message = "the observation group 'mask' does not say which actions are allowed"
        expected = f"{choices} values, one for each choice" if choices else "none, as bits cannot be masked"
        hint = "rename the group in the environment, if it is another kind of mask"
        raise SpecError([Problem(message, "env", expected=expected, found=str(mask), hint=hint)])


def _build_network(
    blueprint: PolicyBlueprint,
    name: str,
    role: Role,
    groups: tuple[str, ...],
    env: EnvInfo,
    streams: Streams,
    registry: Registry,
) -> nn.Module:
    part = blueprint.networks[name]
    inputs = {group: env.observation_spaces[group] for group in groups} | dict(role.extra)
    target: Any = registry.load(part.component)
    # Weights are drawn on the CPU, so that they do not depend on the device; all processes start with the same.
    generator = streams.common.generator(f"init/{name}", torch.device("cpu"))
    network: nn.Module = target(part.config, inputs, role, generator)
    if getattr(network, "carry", 0) and not isinstance(part.config, RecurrentNetworkConfig):
        message = f"network '{part.component.name}' remembers, so its config must be a RecurrentNetworkConfig"
        raise PluginError(message)
    return network


def _window(blueprint: PolicyBlueprint) -> int:
    """Steps into which rollouts are cut for the networks that remember; the spec was checked to have one for all."""
    configs = (part.config for part in blueprint.networks.values())
    return next((config.window for config in configs if isinstance(config, RecurrentNetworkConfig)), 1)


def _obs_normalizers(
    blueprint: PolicyBlueprint, env: EnvInfo, groups: set[str], registry: Registry
) -> dict[str, nn.Module]:
    """A normalizer for each group of real numbers that some role reads, where the spec has ``[normalizer.obs]``."""
    part = blueprint.normalizers.get("obs")
    if part is None:
        return {}
    target: Any = registry.load(part.component)
    observed = {name: env.observation_spaces[name] for name in sorted(groups)}
    return {name: in_common(target(part.config, space.shape)) for name, space in observed.items() if _is_real(space)}


def _is_real(space: Any) -> bool:
    return space.dtype is not None and space.dtype.kind == "f"
