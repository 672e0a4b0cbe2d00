"""From options to a simulation of mjlab, with mistakes reported as problems of the spec."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import mjlab.tasks  # noqa: F401 - registers mjlab's own tasks; mjlab itself has loaded those of others
import structlog
import torch
import warp
from mjlab.envs import ManagerBasedRlEnv
from mjlab.envs.mdp import time_out
from mjlab.tasks.registry import list_tasks, load_env_cfg, load_rl_cfg

from slmk.errors import Problem, SpecError, did_you_mean
from slmk.toolbox.room import require_memory
from slmk_env_managed import override
from slmk_env_mjlab.footprint import MANY, bytes_per_env
from slmk_env_mjlab.streams import Streams

if TYPE_CHECKING:
    from slmk_env_mjlab import MjlabConfig

__all__ = ["make", "role_groups", "time_limit"]

RESERVED = {
    "scene.num_envs": "set env.num_envs instead",
    "seed": "set run.seed instead",
    "auto_reset": "it has to be off, so that last observations are true ones",
}
"""Values of mjlab's configuration that the backend sets, with what to do instead."""
_log = structlog.get_logger()
# Otherwise a line for each of some hundred kernels, at every start.
warp.config.log_level = max(warp.config.log_level, warp.LOG_WARNING)


def make(config: MjlabConfig, device: torch.device) -> ManagerBasedRlEnv:
    """The simulation that the options describe; what mjlab prints about it goes to the log, at level debug.

    Raises:
        SpecError: the id or an override is unknown, mjlab refuses a value, or there is no room for so many.
    """
    if config.id not in list_tasks():
        hint = did_you_mean(config.id, list_tasks()) or f"its tasks: {', '.join(list_tasks())}"
        raise SpecError([Problem("mjlab has no task of this name", "env.id", found=f"'{config.id}'", hint=hint)])
    training = load_env_cfg(config.id)
    cfg = load_env_cfg(config.id, play=config.play)
    cfg.episode_length_s = training.episode_length_s
    override(cfg, config.overrides, reserved=RESERVED, known=training)
    if getattr(cfg.commands.get("motion"), "motion_file", None) == "":
        path, hint = "env.overrides", 'set "commands.motion.motion_file" to an .npz file of mjlab\'s'
        raise SpecError([Problem(f"'{config.id}' follows a recorded motion, and none is given", path, hint=hint)])
    cfg.scene.num_envs, cfg.auto_reset = config.num_envs, False
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            if config.num_envs >= MANY:
                # What this draws leaves the scene of few environments and that of many alike.
                with Streams(device):
                    size = bytes_per_env(cfg, _name(device))
                require_memory(config.num_envs, size, device)
            return ManagerBasedRlEnv(cfg, device=_name(device), render_mode="rgb_array" if config.render else None)
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise SpecError([Problem(f"mjlab cannot create '{config.id}': {error}", "env")]) from error
    finally:
        _log.debug("mjlab", printed=printed.getvalue())


def role_groups(name: str) -> dict[str, tuple[str, ...]]:
    """The groups that the task's own training configuration gives to each role."""
    return {role: tuple(groups) for role, groups in load_rl_cfg(name).obs_groups.items()}


def time_limit(env: ManagerBasedRlEnv) -> int | None:
    """The longest episode in steps, where the task has mjlab's time limit."""
    terms: list[Any] = list(env.cfg.terminations.values())
    return env.max_episode_length if any(term is not None and term.func is time_out for term in terms) else None


def _name(device: torch.device) -> str:
    """What Warp calls the device: it wants the number of a GPU."""
    return f"cuda:{device.index or 0}" if device.type == "cuda" else str(device)
