"""Checks of the promises that every environment makes, one function per promise.

Give them an environment with short episodes (tens of steps): checks of episode ends step until some ended.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slmk.env_info import EnvInfo, tensor_dtype
from slmk.state import get_state, set_state
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import equal, first_difference
from slmk.testing.env_chance import check_env_rows_and_seeds_differ
from slmk.testing.env_steps import make_env, random_actions, steps, steps_until
from slmk.testing.subject import Skip, Subject

if TYPE_CHECKING:
    from slmk.batch import Obs, Step

__all__ = [
    "ENV_CHECKS",
    "check_env_ends_are_exclusive",
    "check_env_final_obs",
    "check_env_info",
    "check_env_keeps_tensors",
    "check_env_leaves_rewards",
    "check_env_metrics",
    "check_env_no_phantom_step",
    "check_env_same_seed_same_steps",
    "check_env_shapes_and_types",
    "check_env_state_round_trip",
]

_STEPS = 30


def check_env_info(subject: Subject) -> None:
    """`EnvInfo` says how many environments there are, and survives being written as JSON."""
    for num_envs in (1, 4):
        env = make_env(subject, num_envs, 0)
        info = env.info
        env.close()
        assert info.num_envs == num_envs, f"info.num_envs is {info.num_envs}, but {num_envs} were asked for"
        assert info.observation_spaces, "info.observation_spaces is empty; there is at least one group"
        written = json.loads(json.dumps(info.to_json()))
        assert EnvInfo.from_json(written, info.device).to_json() == info.to_json(), "EnvInfo changes on its way to JSON"


def check_env_shapes_and_types(subject: Subject) -> None:
    """Every tensor has the shape, dtype and device that the contract and the spaces say, for one and four."""
    for num_envs in (1, 4):
        env = make_env(subject, num_envs, 0)
        _check_obs(env.reset(), env.info, "reset()")
        for step in steps(env, _STEPS):
            _check_obs(step.obs, env.info, "Step.obs")
            _check_obs(step.final_obs, env.info, "Step.final_obs")
            _check_tensor(step.reward, (num_envs,), torch.float32, env.info, "Step.reward")
            _check_tensor(step.terminated, (num_envs,), torch.bool, env.info, "Step.terminated")
            _check_tensor(step.truncated, (num_envs,), torch.bool, env.info, "Step.truncated")
            for name, value in step.info.items():
                assert value.shape == (num_envs,), f"Step.info[{name!r}] has shape {tuple(value.shape)}, not (N,)"
        env.close()


def check_env_same_seed_same_steps(subject: Subject) -> None:
    """Two environments with one seed, and one that is reset with it, take the same steps for the same actions."""
    one, other, reset = make_env(subject, 4, 3), make_env(subject, 4, 3), make_env(subject, 4, 8)
    first = one.reset()
    _assert_same(first, other.reset(), "the first observations of two environments made with one seed differ in")
    _assert_same(first, reset.reset(3), "made with a seed and reset with it, first observations differ in")
    for a, b, c in zip(*(steps(env, 2 * _STEPS) for env in (one, other, reset)), strict=True):
        _assert_same(_tree(a), _tree(b), "two environments with one seed differ in")
        _assert_same(_tree(a), _tree(c), "an environment reset with the seed differs from one made with it in")
    for env in (one, other, reset):
        env.close()


def check_env_leaves_rewards(subject: Subject) -> None:
    """Rewards are returned as they are: ``reward_scale`` is the kernel's, and both would multiply twice."""
    rewards = []
    for scale in (1.0, 2.0):
        env = make_env(subject, 4, 3, reward_scale=scale)
        env.reset()
        rewards.append(torch.stack([step.reward for step in steps(env, _STEPS)]))
        env.close()
    plain, scaled = rewards
    is_scaled = torch.equal(2 * plain, scaled) and bool(plain.any())
    assert not is_scaled, "the environment multiplies by reward_scale, which the kernel does too; return plain rewards"


def check_env_keeps_tensors(subject: Subject) -> None:
    """No tensor that was returned changes later, none is handed out twice as two different values, no action changes.

    The action is stored with the transition: who writes into it, or lets a simulator do so, has to copy it.
    """
    env = make_env(subject, 4, 0)
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


def check_env_final_obs(subject: Subject) -> None:
    """`final_obs` is `obs` but where an episode ended; there it is not the first observation of the next one."""
    env = make_env(subject, 4, 0)
    if not env.info.final_obs:
        env.close()
        raise Skip("info.final_obs is False")
    env.reset()
    differs = False
    for step in steps_until(env, episodes=8):
        ended = step.terminated | step.truncated
        for name, obs in step.obs.items():
            final = step.final_obs[name]
            assert equal(final[~ended], obs[~ended]), f"final_obs[{name!r}] differs from obs where no episode ended"
            differs = differs or not equal(final[ended], obs[ended])
    env.close()
    assert differs, "final_obs was the first observation of the next episode at every end; it belongs to the old one"


def check_env_no_phantom_step(subject: Subject) -> None:
    """No step is spent on restarting: no episode is longer than the time limit, and the first action counts."""
    env = make_env(subject, 4, 0)
    obs, length, lengths, first_moves = env.reset(), torch.zeros(4), [], []
    restarted = torch.ones(4, dtype=torch.bool)
    for step in steps_until(env, episodes=8):
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


def check_env_ends_are_exclusive(subject: Subject) -> None:
    """No episode is both terminated and truncated: what terminated has no value after it, time limit or not."""
    env = make_env(subject, 4, 0)
    env.reset()
    for step in steps_until(env, episodes=8):
        assert not (step.terminated & step.truncated).any(), (
            "a row is both terminated and truncated; terminated comes first"
        )
    env.close()


def check_env_metrics(subject: Subject) -> None:
    """Metrics are 0-dim tensors on the device by ``env/name``, and of the time since asked."""
    env = make_env(subject, 4, 0)
    if not hasattr(env, "metrics"):
        env.close()
        raise Skip("it has no figures of its own")
    env.reset()
    for _ in steps_until(env, episodes=4):
        pass
    metrics, again = env.metrics(), env.metrics()
    env.close()
    for name, value in metrics.items():
        assert name.startswith("env/"), f"the metric {name!r} is not named 'env/…'"
        _check_tensor(value, (), value.dtype, env.info, f"metrics()[{name!r}]")
    assert not again, f"metrics() gave {sorted(again)} a second time, without a step between"


def check_env_state_round_trip(subject: Subject) -> None:
    """An environment that claims exact state repeats 30 steps and a reset, bit for bit, from a state in a file.

    One that does not takes its state back at least.
    """
    env = make_env(subject, 4, 5)
    if not env.info.exact_state:
        if hasattr(env, "state_dict"):
            set_state(env, through_a_file(get_state(env)))
        env.close()
        raise Skip("info.exact_state is False")
    env.reset()
    actions = random_actions(env.info, seed=1)
    for action in islice(actions, 11):
        env.step(action)
    state = through_a_file(get_state(env))
    script = list(islice(actions, _STEPS))
    straight, anew = [env.step(action) for action in script], env.reset()
    env.close()
    fresh = make_env(subject, 4, 6)
    set_state(fresh, state)
    for index, (action, expected) in enumerate(zip(script, straight, strict=True)):
        _assert_same(_tree(expected), _tree(fresh.step(action)), f"step {index} after restoring the state differs in")
    _assert_same(anew, fresh.reset(), "after restoring the state, the first observations of new episodes differ in")
    fresh.close()


ENV_CHECKS = (
    check_env_info,
    check_env_shapes_and_types,
    check_env_same_seed_same_steps,
    check_env_rows_and_seeds_differ,
    check_env_leaves_rewards,
    check_env_keeps_tensors,
    check_env_final_obs,
    check_env_no_phantom_step,
    check_env_ends_are_exclusive,
    check_env_metrics,
    check_env_state_round_trip,
)
"""All checks, in the order in which their failures are easiest to understand."""


def _moved(before: Obs, step: Step, row: int) -> bool:
    """Whether a step changed anything: its reward is not zero, or an observation is another one."""
    changed = any(not equal(before[name][row], final[row]) for name, final in step.final_obs.items())
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


def _tree(step: Step) -> dict[str, Any]:
    return {name: getattr(step, name) for name in ("obs", "final_obs", "reward", "terminated", "truncated")}


def _assert_same(a: Any, b: Any, message: str) -> None:
    difference = first_difference(a, b)
    assert difference is None, f"{message} {difference}"
