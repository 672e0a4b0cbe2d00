"""From options to a simulation, with mistakes reported as problems of the spec."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
from mujoco_playground import registry

from slmk.errors import Problem, SpecError, did_you_mean
from slmk.toolbox.tables import flattened
from slmk_env_playground.assets import provide_menagerie
from slmk_env_playground.simulation import Simulation

if TYPE_CHECKING:
    from slmk_env_playground import PlaygroundConfig

__all__ = ["make"]


def make(config: PlaygroundConfig, device: jax.Device) -> Simulation:
    """The simulation that the options describe; the same one for the same options, so that it is compiled once.

    Raises:
        SpecError: the id or an override is unknown, or Playground refuses a value.
    """
    if config.id not in registry.ALL_ENVS:
        raise SpecError([_unknown(config.id)])
    known = flattened(registry.get_default_config(config.id).to_dict())
    flat = flattened(config.overrides)
    problems = list(_problems(config.id, flat, known))
    if problems:
        raise SpecError(problems)
    impl = ("warp" if device.platform == "gpu" else "jax") if config.impl == "auto" else config.impl
    if "impl" in known:
        flat["impl"] = impl
    action_repeat = config.action_repeat or int(known.get("action_repeat", 1))
    limit = config.max_episode_steps or -(-int(flat.get("episode_length", known["episode_length"])) // action_repeat)
    return _simulation(
        config.id,
        json.dumps(flat, sort_keys=True),
        config.num_envs,
        limit,
        action_repeat,
        config.reset == "full",
        config.randomize,
        device,
    )


@lru_cache(maxsize=8)
def _simulation(
    name: str,
    overrides: str,
    num_envs: int,
    limit: int,
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
    with jax.default_device(device):
        try:
            env = registry.load(name, config_overrides=json.loads(overrides))
        except (KeyError, TypeError, ValueError, NotImplementedError) as error:
            raise SpecError([Problem(f"Playground cannot create '{name}': {error}", "env")]) from error
        return Simulation(env, num_envs, limit, action_repeat, full_reset, randomizer)


def _problems(name: str, overrides: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Problem]:
    for key, value in overrides.items():
        path = f"env.overrides.{key}"
        if key in ("impl", "action_repeat"):
            yield Problem("this is an option of the backend", path, hint=f"set env.{key} instead")
        elif key not in known:
            hint = did_you_mean(key, known)
            yield Problem(f"the config of '{name}' has no such value", path, expected=", ".join(known), hint=hint)
        elif not _fits(value, known[key]):
            yield Problem("a value of another type", path, expected=_kind(known[key]), found=f"{value!r}")


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
