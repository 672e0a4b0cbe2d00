"""From options to a simulation of Isaac Lab, with mistakes reported as problems of the spec."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import gymnasium
import torch

from slmk.errors import Problem, SpecError, did_you_mean
from slmk_env_managed import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slmk_env_isaaclab import IsaacLabConfig

__all__ = ["make"]

RESERVED = {
    "scene.num_envs": "set env.num_envs instead",
    "sim.device": "set run.device instead",
    "seed": "set run.seed instead",
}
"""Values of a task's configuration that the backend sets, with what to do instead."""
CONFIG = "env_cfg_entry_point"
"""Under this name the tasks of Isaac Lab register their configuration."""


def make(config: IsaacLabConfig, device: torch.device, seed: int) -> Any:
    """The simulation that the options describe: an ``isaaclab.envs.ManagerBasedRLEnv`` or ``DirectRLEnv``.

    Raises:
        SpecError: task, preset or override is unknown, there are several agents, or Isaac Lab refuses a value.
    """
    for package in config.packages:
        _import(package)
    if config.id not in (tasks := _tasks()):
        hint = did_you_mean(config.id, tasks) or f"tasks come from {', '.join(config.packages)}"
        raise SpecError([Problem("Isaac Lab has no task of this name", "env.id", found=f"'{config.id}'", hint=hint)])
    cfg = _load(config)
    override(cfg, config.overrides, reserved=RESERVED)
    # Isaac Lab seeds NumPy too, which takes 32 bits.
    cfg.scene.num_envs, cfg.sim.device, cfg.seed = config.num_envs, str(device), seed % 2**32
    if hasattr(cfg, "compute_final_obs"):
        cfg.compute_final_obs = True
    try:
        env = gymnasium.make(config.id, cfg=cfg, render_mode="rgb_array" if config.render else None).unwrapped
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise SpecError([Problem(f"Isaac Lab cannot create '{config.id}': {error}", "env")]) from error
    if hasattr(env, "possible_agents"):
        env.close()
        raise SpecError([Problem("the task has several agents, which is not supported", "env.id", found=config.id)])
    return env


def _import(package: str) -> None:
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.split(".")[0]:
            raise
        raise SpecError([Problem("no such package is installed", "env.packages", found=f"'{package}'")]) from error


def _tasks() -> list[str]:
    return [name for name, spec in gymnasium.registry.items() if CONFIG in spec.kwargs]


def _load(config: IsaacLabConfig) -> Any:
    """The task's configuration with its presets chosen, which it has since Isaac Lab 3."""
    utils: Any = import_module("isaaclab_tasks.utils")
    cfg = utils.load_cfg_from_registry(config.id, CONFIG)
    if hasattr(utils, "resolve_presets"):
        if problems := list(_unknown_presets(cfg, config.presets)):
            raise SpecError(problems)
        try:
            return utils.resolve_presets(cfg, selected=config.presets)
        except ValueError as error:
            raise SpecError([Problem(str(error), "env.presets", found=", ".join(config.presets))]) from error
    if config.presets:
        raise SpecError([Problem("this version of Isaac Lab has no presets", "env.presets", expected="Isaac Lab 3")])
    return cfg


def _unknown_presets(cfg: Any, presets: Sequence[str]) -> Iterator[Problem]:
    """Names that no part of the configuration has: Isaac Lab passes over them."""
    if not presets:
        return
    hydra: Any = import_module("isaaclab_tasks.utils.hydra")
    known = sorted({name for choices in hydra.collect_presets(cfg).values() for name in choices})
    for name in presets:
        if name not in known:
            expected, hint = ", ".join(known) or "none", did_you_mean(name, known)
            yield Problem("the task has no such preset", "env.presets", expected=expected, found=name, hint=hint)
