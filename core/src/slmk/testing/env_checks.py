"""Checks of the promises that every environment makes, one function per promise.

Each takes `make`, which creates the environment for a number of environments and a seed, and raises `AssertionError`
with words about what is wrong. Give it short episodes (tens of steps): checks of episode ends step until some ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from slmk.env_info import EnvInfo, tensor_dtype
from slmk.protocols import Env
from slmk.state import get_state, set_state

if TYPE_CHECKING:
    from slmk.batch import Obs, Step

__all__ = [
    "ENV_CHECKS",
    "MakeEnv",
    "check_env_ends_are_exclusive",
    "check_env_final_obs",
    "check_env_info",
    "check_env_keeps_tensors",
    "check_env_metrics",
    "check_env_no_phantom_step",
    "check_env_rows_and_seeds_differ",
    "check_env_same_seed_same_steps",
    "check_env_shapes_and_types",
    "check_env_state_round_trip",
    "random_actions",
]

MakeEnv = Callable[[int, int], Env]
"""Creates an environment: ``make(num_envs, seed)``."""

_STEPS = 30
_MAX_STEPS = 3000
"""Vector steps after which a check stops waiting for an episode to end."""


def random_actions(info: EnvInfo, seed: int = 0) -> Iterator[Tensor]:
    """Endless batches of actions (N, *shape), drawn within the action space; unbounded directions from N(0, 1)."""
    space, rng = info.action_space, np.random.default_rng(seed)
    while True:
        yield torch.from_numpy(_draw(space, info.num_envs, rng)).to(info.device)


def check_env_info(make: MakeEnv) -> None:
    """`EnvInfo` says how many environments there are, and survives being written as JSON."""
    for num_envs in (1, 4):
        env = make(num_envs, 0)
        info = env.info
        env.close()
        assert info.num_envs == num_envs, f"info.num_envs is {info.num_envs}, but {num_envs} were asked for"
        assert info.observation_spaces, "info.observation_spaces is empty; there is at least one group"
        written = json.loads(json.dumps(info.to_json()))
        assert EnvInfo.from_json(written, info.device).to_json() == info.to_json(), "EnvInfo changes on its way to JSON"


def check_env_shapes_and_types(make: MakeEnv) -> None:
    """Every tensor has the shape, dtype and device that the contract and the spaces say, for one and four."""
    for num_envs in (1, 4):
        env = make(num_envs, 0)
        _check_obs(env.reset(), env.info, "reset()")
        for step in _steps(env, _STEPS):
            _check_obs(step.obs, env.info, "Step.obs")
            _check_obs(step.final_obs, env.info, "Step.final_obs")
            _check_tensor(step.reward, (num_envs,), torch.float32, env.info, "Step.reward")
            _check_tensor(step.terminated, (num_envs,), torch.bool, env.info, "Step.terminated")
            _check_tensor(step.truncated, (num_envs,), torch.bool, env.info, "Step.truncated")
            for name, value in step.info.items():
                assert value.shape == (num_envs,), f"Step.info[{name!r}] has shape {tuple(value.shape)}, not (N,)"
        env.close()


def check_env_same_seed_same_steps(make: MakeEnv) -> None:
    """Two environments with one seed, and one that is reset with it, take the same steps for the same actions."""
    one, other, reset = make(4, 3), make(4, 3), make(4, 8)
    first = one.reset()
    _assert_same(first, other.reset(), "the first observations of two environments made with one seed differ in")
    _assert_same(first, reset.reset(3), "made with a seed and reset with it, first observations differ in")
    for a, b, c in zip(*(_steps(env, 2 * _STEPS) for env in (one, other, reset)), strict=True):
        _assert_same_step(a, b, "two environments with one seed differ in")
        _assert_same_step(a, c, "an environment reset with the seed differs from one made with it in")
    for env in (one, other, reset):
        env.close()


def check_env_rows_and_seeds_differ(make: MakeEnv) -> None:
    """Where chance has a part, it is another one in each row and for each seed; and each row acts by its own actions.

    Chance shows where rows that act alike differ, or episodes begin in several ways, or a reset does not repeat what
    came before. A task without chance passes. One that is not random, and yet shows what looks like chance, has to
    leave this promise out: ``skip = {"rows_and_seeds_differ": "the reason"}`` in its contract class.
    """
    one, other = make(4, 3), make(4, 8)
    own = list(islice(random_actions(one.info), 4 * _STEPS))
    alike = [action[:1].expand_as(action).clone() for action in own]
    story: list[list[_Seen]] = []
    rows = seeds = False
    for mine, others in zip(_seen(one, alike), _seen(other, alike), strict=True):
        story.append(mine)
        rows, seeds = rows or len(set(mine)) > 1, seeds or mine != others
        if rows and seeds:
            break
    chance = rows or seeds or _begins_in_several_ways(story) or story != [*_seen(one, alike)]
    moved = chance or _moves_rows_apart(one, own)
    one.close()
    other.close()
    assert rows or not chance, "all rows are one and the same environment, of the same chance; draw for each of them"
    assert seeds or not chance, "two seeds give the same steps, though chance has a part in them: the seed is ignored"
    assert moved, "rows that act differently see the same: each row has to act by its own actions"


def check_env_keeps_tensors(make: MakeEnv) -> None:
    """No tensor that was returned changes later, none is handed out twice as two different values, no action changes.

    The action is stored with the transition: who writes into it, or lets a simulator do so, has to copy it.
    """
    env = make(4, 0)
    kept = [(value, value.clone()) for value in env.reset().values()]
    for action in islice(random_actions(env.info), 2 * _STEPS):
        before = action.clone()
        step = env.step(action)
        assert torch.equal(action, before), "step() wrote into its action; copy it where a simulator does"
        values = (*step.obs.values(), *step.final_obs.values(), step.reward, step.terminated, step.truncated)
        kept += [(value, value.clone()) for value in values]
    env.reset()
    env.close()
    for index, (value, before) in enumerate(kept):
        assert torch.equal(value, before) or bool(value.isnan().any()), (
            f"returned tensor number {index} was overwritten by a later step; hand out new tensors"
        )


def check_env_final_obs(make: MakeEnv) -> None:
    """`final_obs` is `obs` but where an episode ended; there it is not the first observation of the next one."""
    env = make(4, 0)
    if not env.info.final_obs:
        env.close()
        return
    env.reset()
    differs = False
    for step in _steps_until(env, episodes=8):
        ended = step.terminated | step.truncated
        for name, obs in step.obs.items():
            final = step.final_obs[name]
            assert _equal(final[~ended], obs[~ended]), f"final_obs[{name!r}] differs from obs where no episode ended"
            differs = differs or not _equal(final[ended], obs[ended])
    env.close()
    assert differs, "final_obs was the first observation of the next episode at every end; it belongs to the old one"


def check_env_no_phantom_step(make: MakeEnv) -> None:
    """No step is spent on restarting: no episode is longer than the time limit, and the first action counts."""
    env = make(4, 0)
    obs, length, lengths, first_moves = env.reset(), torch.zeros(4), [], []
    restarted = torch.ones(4, dtype=torch.bool)
    for step in _steps_until(env, episodes=8):
        length += 1
        ended = (step.terminated | step.truncated).cpu()
        first_moves += [_moved(obs, step, row) for row in restarted.nonzero().flatten().tolist()]
        lengths += length[ended].int().tolist()
        length[ended] = 0
        obs, restarted = step.obs, ended
    env.close()
    limit = env.info.max_episode_steps
    assert limit is None or max(lengths) <= limit, (
        f"an episode took {max(lengths)} steps, but info.max_episode_steps is {limit}: is a step spent on restarting?"
    )
    assert any(first_moves), "no first action of an episode had an effect: is it ignored, as by a restart on that step?"


def check_env_ends_are_exclusive(make: MakeEnv) -> None:
    """No episode is both terminated and truncated: what terminated has no value after it, time limit or not."""
    env = make(4, 0)
    env.reset()
    for step in _steps_until(env, episodes=8):
        assert not (step.terminated & step.truncated).any(), (
            "a row is both terminated and truncated; terminated comes first"
        )
    env.close()


def check_env_metrics(make: MakeEnv) -> None:
    """Metrics, where there are any, are 0-dim tensors on the device by ``env/name``, and of the time since asked."""
    env = make(4, 0)
    env.reset()
    for _ in _steps_until(env, episodes=4):
        pass
    metrics, again = (env.metrics(), env.metrics()) if hasattr(env, "metrics") else ({}, {})
    env.close()
    for name, value in metrics.items():
        assert name.startswith("env/"), f"the metric {name!r} is not named 'env/…'"
        _check_tensor(value, (), value.dtype, env.info, f"metrics()[{name!r}]")
    assert not again, f"metrics() gave {sorted(again)} a second time, without a step between"


def check_env_state_round_trip(make: MakeEnv) -> None:
    """An environment that claims exact state repeats 30 steps, bit for bit, from a state that went through a file.

    One that does not takes its state back at least.
    """
    env = make(4, 5)
    if not env.info.exact_state:
        if hasattr(env, "state_dict"):
            set_state(env, _through_a_file(get_state(env)))
        env.close()
        return
    env.reset()
    actions = random_actions(env.info, seed=1)
    for action in islice(actions, 11):
        env.step(action)
    state = _through_a_file(get_state(env))
    script = list(islice(actions, _STEPS))
    straight = [env.step(action) for action in script]
    env.close()
    fresh = make(4, 6)
    set_state(fresh, state)
    for index, (action, expected) in enumerate(zip(script, straight, strict=True)):
        _assert_same_step(expected, fresh.step(action), f"step {index} after restoring the state differs in")
    fresh.close()


ENV_CHECKS: tuple[Callable[[MakeEnv], None], ...] = (
    check_env_info,
    check_env_shapes_and_types,
    check_env_same_seed_same_steps,
    check_env_rows_and_seeds_differ,
    check_env_keeps_tensors,
    check_env_final_obs,
    check_env_no_phantom_step,
    check_env_ends_are_exclusive,
    check_env_metrics,
    check_env_state_round_trip,
)
"""All checks, in the order in which their failures are easiest to understand."""


def _draw(space: spaces.Space[Any], count: int, rng: np.random.Generator) -> Any:
    match space:
        case spaces.Discrete():
            return rng.integers(space.start, space.start + space.n, count)
        case spaces.MultiDiscrete():
            return rng.integers(space.start, space.start + space.nvec, (count, *space.shape))
        case spaces.MultiBinary():
            return rng.integers(0, 2, (count, *space.shape))
        case spaces.Box():
            bounded = np.isfinite(space.low) & np.isfinite(space.high)
            low, high = np.where(bounded, space.low, 0.0), np.where(bounded, space.high, 1.0)
            uniform = low + (high - low) * rng.random((count, *space.shape))
            return np.where(bounded, uniform, rng.standard_normal(uniform.shape)).astype(np.float32)
    raise AssertionError(f"the action space is a {type(space).__name__}, which the contract does not have")


def _steps(env: Env, count: int) -> Iterator[Step]:
    for action in islice(random_actions(env.info), count):
        yield env.step(action)


def _steps_until(env: Env, episodes: int) -> Iterator[Step]:
    """Steps until that many episodes have ended."""
    ended = 0
    for step in _steps(env, _MAX_STEPS):
        yield step
        ended += int((step.terminated | step.truncated).sum())
        if ended >= episodes:
            return
    assert ended, f"no episode ended within {_MAX_STEPS} steps; give the check an environment with short episodes"


_Seen = tuple[int, int, int, bool]
"""What a row sees in one moment: digests of observation, last observation and reward, and whether an episode begins."""


def _seen(env: Env, actions: Iterable[Tensor]) -> Iterator[list[_Seen]]:
    """What each row sees from a reset on."""
    yield [(first, 0, 0, True) for first in _digests(env.reset().values())]
    for action in actions:
        step = env.step(action)
        seen = (step.obs.values(), step.final_obs.values(), (step.reward, step.terminated))
        yield list(zip(*map(_digests, seen), (step.terminated | step.truncated).tolist(), strict=True))


def _digests(values: Iterable[Tensor]) -> list[int]:
    """One number for all that belongs to a row, for each row."""
    parts = ([row.numpy().tobytes() for row in value.cpu()] for value in values)
    return [hash(row) for row in zip(*parts, strict=True)]


def _begins_in_several_ways(story: list[list[_Seen]]) -> bool:
    """Whether two episodes of one row have different first observations."""
    return any(len({first for first, _, _, begins in row if begins}) > 1 for row in zip(*story, strict=True))


def _moves_rows_apart(env: Env, actions: Sequence[Tensor]) -> bool:
    """Whether rows with actions of their own come to see different things; true also where no action has an effect."""
    story = [*_seen(env, actions)]
    return any(len(set(moment)) > 1 for moment in story) or story == [*_seen(env, actions[::-1])]


def _moved(before: Obs, step: Step, row: int) -> bool:
    """Whether a step changed anything: its reward is not zero, or an observation is another one."""
    changed = any(not _equal(before[name][row], final[row]) for name, final in step.final_obs.items())
    return changed or bool(step.reward[row] != 0)


def _check_obs(obs: Obs, info: EnvInfo, where: str) -> None:
    assert set(obs) == set(info.observation_spaces), (
        f"{where} has groups {sorted(obs)}, but info.observation_spaces has {sorted(info.observation_spaces)}"
    )
    for name, space in info.observation_spaces.items():
        shape = (info.num_envs, *(space.shape or ()))
        _check_tensor(obs[name], shape, tensor_dtype(space), info, f"{where}[{name!r}]")


def _check_tensor(value: Tensor, shape: tuple[int, ...], dtype: torch.dtype, info: EnvInfo, where: str) -> None:
    assert isinstance(value, Tensor), f"{where} is a {type(value).__name__}, not a tensor"
    assert value.shape == shape, f"{where} has shape {tuple(value.shape)}, expected {shape}"
    assert value.dtype == dtype, f"{where} has dtype {value.dtype}, expected {dtype}"
    assert value.device.type == info.device.type, f"{where} is on {value.device}, expected {info.device}"


def _assert_same_step(a: Step, b: Step, message: str) -> None:
    _assert_same(a.obs, b.obs, f"{message} obs of")
    _assert_same(a.final_obs, b.final_obs, f"{message} final_obs of")
    for name in ("reward", "terminated", "truncated"):
        assert torch.equal(getattr(a, name), getattr(b, name)), f"{message} {name}"


def _assert_same(a: Obs, b: Obs, message: str) -> None:
    for name, value in a.items():
        assert _equal(value, b[name]), f"{message} group {name!r}"


def _equal(a: Tensor, b: Tensor) -> bool:
    """Bit for bit, where NaN equals NaN."""
    return bool(torch.equal(a, b) or torch.allclose(a.double(), b.double(), rtol=0, atol=0, equal_nan=True))


def _through_a_file(value: Any) -> Any:
    """What a checkpoint gives back: tensors for arrays, lists for tuples, and JSON values, none of them shared."""
    if isinstance(value, Tensor | np.ndarray):
        return torch.as_tensor(value).clone()
    if isinstance(value, dict):
        return {name: _through_a_file(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_through_a_file(item) for item in value]
    return json.loads(json.dumps(value))
