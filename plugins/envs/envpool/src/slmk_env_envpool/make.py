"""From options to an EnvPool, with mistakes reported as problems of the spec."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import envpool

from slmk.cores import cores
from slmk.errors import Problem, SpecError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slmk_env_envpool import EnvPoolConfig

__all__ = ["make"]

_OURS = {
    "num_envs": "env.num_envs",
    "num_threads": "env.num_threads",
    "max_episode_steps": "env.max_episode_steps",
    "seed": "run.seed",
    "env_seed": "run.seed",
}
_NOBODYS = {
    "batch_size",
    "base_path",
    "gym_reset_return_info",
    "max_num_players",
    "reward_threshold",
    "thread_affinity_offset",
}
_SEEDS = 2**31


def make(config: EnvPoolConfig, seed: int) -> Any:
    """The pool that the options describe; environment i is seeded with ``seed + i``, within 31 bits.

    Raises:
        SpecError: the id or an option is unknown, or EnvPool refuses a value.
    """
    if config.id not in envpool.list_all_envs():
        raise SpecError([_unknown(config.id)])
    problems = list(_problems(config))
    if problems:
        raise SpecError(problems)
    _check_evaluation(config)
    arguments: dict[str, Any] = {
        **config.options,
        "num_envs": config.num_envs,
        "num_threads": config.num_threads or min(cores(), config.num_envs),
        "seed": seed % (_SEEDS - config.num_envs),
    }
    if config.max_episode_steps:
        arguments["max_episode_steps"] = config.max_episode_steps
    if config.render:
        arguments["render_mode"] = "rgb_array"
    return _or_problem(config, lambda: _with_spaces(envpool.make_gymnasium(config.id, **arguments)))


def _with_spaces(pool: Any) -> Any:
    """The pool, after a look at its spaces: Gymnasium warns when they are made, and they are kept from then on."""
    _ = pool.observation_space, pool.action_space
    return pool


def _or_problem(config: EnvPoolConfig, create: Callable[[], Any], path: str = "env") -> Any:
    """What `create` makes, or a `SpecError` with EnvPool's own words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Gymnasium finds bounds of doubles imprecise
            return create()
    except (AssertionError, ImportError, RuntimeError, TypeError, ValueError) as error:
        raise SpecError([Problem(f"EnvPool cannot create '{config.id}': {error}", path=path)]) from error


def _problems(config: EnvPoolConfig) -> Iterator[Problem]:
    spec = _or_problem(config, lambda: envpool.make_spec(config.id))
    known = set(spec.config._fields) - set(_OURS) - _NOBODYS
    for key in {**config.options, **config.evaluation_options}:
        path = f"env.{'evaluation_options' if key in config.evaluation_options else 'options'}.{key}"
        if key in _OURS:
            yield Problem("this is not an option of the environment", path=path, hint=f"set {_OURS[key]} instead")
        elif key not in known:
            hint = did_you_mean(key, known)
            yield Problem(f"'{config.id}' has no such option", path=path, expected=_listed(known), hint=hint)


def _check_evaluation(config: EnvPoolConfig) -> None:
    """Look at values for evaluation now, rather than when it begins; mistakes in those for training come first."""
    evaluation = {**config.options, **config.evaluation_options}
    if evaluation != config.options:
        _or_problem(config, lambda: envpool.make_spec(config.id, **config.options))
        _or_problem(config, lambda: envpool.make_spec(config.id, **evaluation), "env.evaluation_options")


def _unknown(name: str) -> Problem:
    names = envpool.list_all_envs()
    hint = did_you_mean(name, names) or f"envpool.list_all_envs() lists all {len(names)}"
    return Problem("EnvPool has no environment of this id", path="env.id", found=f"'{name}'", hint=hint)


def _listed(names: set[str]) -> str:
    return "one of " + ", ".join(sorted(names)) if names else "no options"
