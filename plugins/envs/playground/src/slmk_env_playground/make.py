"""From options to a simulation, with mistakes reported as problems of the spec."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import jax
import torch
from mujoco_playground import registry

from slmk.errors import Problem, SpecError, did_you_mean
from slmk.toolbox.mujoco_log import mujoco_warnings_logged
from slmk.toolbox.room import require_memory
from slmk.toolbox.tables import flattened
from slmk_env_playground.arrays import jax_device
from slmk_env_playground.assets import provide_menagerie
from slmk_env_playground.simulation import CHUNKS, Simulation

if TYPE_CHECKING:
    from mujoco_playground import MjxEnv

    from slmk_env_playground import PlaygroundConfig

__all__ = ["make"]

OPTIONS = {"impl": "impl", "action_repeat": "action_repeat", "vision": "vision", "vision_config.nworld": "num_envs"}
"""What configs of environments call what is an option of the backend."""


def make(config: PlaygroundConfig, device: torch.device) -> Simulation:
    """The simulation that the options describe; the same one for the same options, so that it is compiled once.

    Raises:
        SpecError: the id or an override is unknown, Playground refuses a value, JAX has no such device, or there is no
            room for the pictures of so many environments.
    """
    place = jax_device(device)
    if config.id not in registry.ALL_ENVS:
        raise SpecError([_unknown(config.id)])
    known = flattened(registry.get_default_config(config.id).to_dict())
    flat = flattened(config.overrides)
    problems = [*_problems(config.id, flat, known), *_vision_problems(config, known)]
    if problems:
        raise SpecError(problems)
    warp = config.vision or place.platform == "gpu"
    if "impl" in known:
        flat["impl"] = ("warp" if warp else "jax") if config.impl == "auto" else config.impl
    if config.vision:
        # Warp draws for so many environments as it was made for, neither more nor fewer.
        flat |= {"vision": True, "vision_config.nworld": config.num_envs}
        require_memory(config.num_envs, picture_bytes(known | flat), device)
    return _simulation(
        config.id,
        json.dumps(flat, sort_keys=True),
        config.num_envs,
        config.max_episode_steps,
        config.action_repeat or int(known.get("action_repeat", 1)),
        config.reset == "full",
        config.randomize,
        place,
    )


@lru_cache(maxsize=8)
def _simulation(
    name: str,
    overrides: str,
    num_envs: int,
    max_episode_steps: int,
    action_repeat: int,
    full_reset: bool,
    randomize: bool,
    device: jax.Device,
) -> Simulation:
    if name not in registry.dm_control_suite.ALL_ENVS:
        provide_menagerie()
    randomizer = registry.get_domain_randomizer(name) if randomize else None
    if randomize and randomizer is None:
        raise SpecError([Problem(f"Playground has no domain randomiser for '{name}'", "env.randomize")])
    with jax.default_device(device), mujoco_warnings_logged():
        try:
            env = registry.load(name, config_overrides=json.loads(overrides))
        except (KeyError, TypeError, ValueError, NotImplementedError) as error:
            raise SpecError([Problem(f"Playground cannot create '{name}': {error}", "env")]) from error
        hush(env)
        # The environment's own config, since with pictures some change it.
        limit = max_episode_steps or -(-int(env._config.episode_length) // action_repeat)
        chunks = 1 if env._config.get("vision") else CHUNKS
        return Simulation(env, num_envs, limit, action_repeat, full_reset, randomizer, chunks)


def hush(env: MjxEnv) -> None:
    """Keep Warp from printing in each step what it has no room for; `overflow.py` says so in the log."""
    warp = env.mjx_model.opt._impl
    if getattr(warp, "warn_overflow", 0):
        options = warp.replace(warn_overflow=0)
        env.unwrapped._mjx_model = env.mjx_model.replace(opt=env.mjx_model.opt.replace(_impl=options))


def _problems(name: str, overrides: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Problem]:
    for key, value in overrides.items():
        path = f"env.overrides.{key}"
        if key in OPTIONS:
            yield Problem("this is an option of the backend", path, hint=f"set env.{OPTIONS[key]} instead")
        elif key not in known:
            hint = did_you_mean(key, known)
            yield Problem(f"the config of '{name}' has no such value", path, expected=", ".join(known), hint=hint)
        elif not _fits(value, known[key]):
            yield Problem("a value of another type", path, expected=_kind(known[key]), found=f"{value!r}")


def _vision_problems(config: PlaygroundConfig, known: Mapping[str, Any]) -> Iterator[Problem]:
    if not config.vision:
        return
    if "vision_config.nworld" not in known:
        yield Problem(
            f"'{config.id}' does not draw pictures", "env.vision", hint=f"of these some do: {', '.join(drawn())}"
        )
    if config.impl == "jax":
        yield Problem("only Warp draws pictures", "env.impl", expected="auto or warp", found="jax")
    if config.randomize:
        yield Problem("pictures are drawn of one model, not of one for each environment", "env.randomize")


def drawn() -> list[str]:
    """The environments whose config speaks of pictures; Playground refuses them for those with sparse rewards."""
    return [name for name in registry.ALL_ENVS if "vision_config" in registry.get_default_config(name)]


def picture_bytes(config: Mapping[str, Any]) -> int:
    """What Warp's renderer keeps of the pictures of one environment: four bytes of colour, and four of depth, a pixel.

    Args:
        config: of the environment, by dotted keys. Cameras with resolutions of their own count with the first one's.
    """
    resolution = config["vision_config.cam_res"]
    if resolution and isinstance(resolution[0], list | tuple):
        resolution = resolution[0]
    pictures = sum((*config["vision_config.render_rgb"], *config["vision_config.render_depth"]))
    return 4 * prod(resolution) * pictures


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or default is None:
        return default is None or isinstance(value, bool)
    if isinstance(default, int | float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, list | tuple) if isinstance(default, list | tuple) else isinstance(value, type(default))


def _kind(value: Any) -> str:
    words = {bool: "true or false", int: "a number", float: "a number", str: "a string"}
    return words.get(type(value), f"a list like {list(value)}" if isinstance(value, list | tuple) else str(type(value)))


def _unknown(name: str) -> Problem:
    hint = did_you_mean(name, registry.ALL_ENVS) or "docs of the plugin list all of them"
    return Problem("Playground has no environment of this name", "env.id", found=f"'{name}'", hint=hint)
