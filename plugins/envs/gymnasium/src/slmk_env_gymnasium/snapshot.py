"""The state of one Gymnasium environment, saved so that going on from it repeats every bit.

That is possible where the whole state is known: classic control and toy text (plain attributes), MuJoCo (its own state
vector, and the derived arrays that some rewards read before the next step recomputes them), and environments that
define ``state_dict`` and ``load_state_dict`` themselves. Box2D keeps contacts and solver caches to itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_exact", "restore", "snapshot"]

_ATTRIBUTE_FAMILIES = ("gymnasium.envs.classic_control.", "gymnasium.envs.toy_text.")
_MUJOCO_FAMILY = "gymnasium.envs.mujoco."
_WRAPPERS = {
    "gymnasium.wrappers.common": {"TimeLimit", "OrderEnforcing", "PassiveEnvChecker"},
    "gymnasium.wrappers.transform_action": {"ClipAction", "RescaleAction"},
    "gymnasium.wrappers.transform_observation": {"FilterObservation", "FlattenObservation", "RescaleObservation"},
    "gymnasium.wrappers.transform_reward": {"ClipReward"},
    "slmk_env_gymnasium.make": {"Masked", "Repeat"},
}
_STRUCTURE = {"render_mode"}
_LIST = "list"


def is_exact(env: gym.Env[Any, Any]) -> bool:
    """Whether `snapshot` and `restore` know all the state of this environment and of the wrappers around it."""
    return all(_is_known(wrapper) for wrapper in _wrappers(env)) and (
        _speaks_for_itself(env.unwrapped)
        or type(env.unwrapped).__module__.startswith((*_ATTRIBUTE_FAMILIES, _MUJOCO_FAMILY))
    )


def snapshot(env: gym.Env[Any, Any]) -> dict[str, Any]:
    """The state of an environment for which `is_exact` holds, as JSON values and arrays."""
    return {"wrappers": [_plain(wrapper) for wrapper in _wrappers(env)], "env": _get(env.unwrapped)}


def restore(env: gym.Env[Any, Any], state: dict[str, Any]) -> None:
    """Put an environment of the same make into the state that `snapshot` gave."""
    if _elapsed_is_missing(env):
        env.reset()
    for wrapper, values in zip(_wrappers(env), state["wrappers"], strict=True):
        _set_plain(wrapper, values)
    _set(env.unwrapped, state["env"])


def _get(base: Any) -> dict[str, Any]:
    if _speaks_for_itself(base):
        return dict(base.state_dict())
    state = {"attributes": _plain(base), "random": base.np_random.bit_generator.state}
    if type(base).__module__.startswith(_MUJOCO_FAMILY):
        state["mujoco"] = _get_mujoco(base.model, base.data)
    return state


def _set(base: Any, state: dict[str, Any]) -> None:
    if _speaks_for_itself(base):
        base.load_state_dict(state)
        return
    _set_plain(base, state["attributes"])
    base.np_random.bit_generator.state = state["random"]
    if "mujoco" in state:
        _set_mujoco(base.model, base.data, state["mujoco"])


def _get_mujoco(model: Any, data: Any) -> dict[str, Any]:
    import mujoco  # type: ignore[import-untyped]

    vector = np.empty(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(model, data, vector, mujoco.mjtState.mjSTATE_INTEGRATION)
    return {"state": vector, "derived": {name: getattr(data, name).copy() for name in _derived(data)}}


def _set_mujoco(model: Any, data: Any, state: dict[str, Any]) -> None:
    import mujoco

    vector = state["state"]
    mujoco.mj_setState(model, data, vector, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(model, data)
    # The forward pass moved the solver's warm start, and made derived values newer than they were when saved.
    mujoco.mj_setState(model, data, vector, mujoco.mjtState.mjSTATE_INTEGRATION)
    for name, value in state["derived"].items():
        getattr(data, name)[...] = value


def _derived(data: Any) -> list[str]:
    """Names of arrays whose size depends on the model alone: poses, velocities and forces of bodies and sites."""
    prefixes = ("x", "c", "subtree_", "site_", "geom_", "cam_", "light_", "sensordata", "qfrc_", "act")
    names = [name for name in dir(data) if name.startswith(prefixes)]
    return [name for name in names if isinstance(getattr(data, name), np.ndarray) and "contact" not in name]


def _wrappers(env: gym.Env[Any, Any]) -> Iterator[gym.Wrapper[Any, Any, Any, Any]]:
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env


def _is_known(wrapper: gym.Wrapper[Any, Any, Any, Any]) -> bool:
    return type(wrapper).__name__ in _WRAPPERS.get(type(wrapper).__module__, ())


def _speaks_for_itself(base: Any) -> bool:
    return hasattr(base, "state_dict") and hasattr(base, "load_state_dict")


def _elapsed_is_missing(env: gym.Env[Any, Any]) -> bool:
    """Whether the environment was never reset, so that there is no state yet to write to."""
    return any(getattr(wrapper, "_elapsed_steps", 0) is None for wrapper in _wrappers(env))


def _plain(owner: Any) -> dict[str, Any]:
    """Attributes that are numbers, strings, arrays of numbers, or tuples and lists of these."""
    return {name: _encode(v) for name, v in vars(owner).items() if name not in _STRUCTURE and _is_plain(v)}


def _set_plain(owner: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        if _is_plain(getattr(owner, name, None)):
            setattr(owner, name, _decode(value))


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biuf"
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def _encode(value: Any) -> Any:
    """A value for a checkpoint, in which tuples become lists: those that are lists already are marked."""
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if isinstance(value, list):
        return {_LIST: [_encode(item) for item in value]}
    if isinstance(value, np.generic):
        return value.item()
    return value.copy() if isinstance(value, np.ndarray) else value


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if isinstance(value, dict):
        return [_decode(item) for item in value[_LIST]]
    return value.copy() if isinstance(value, np.ndarray) else value
