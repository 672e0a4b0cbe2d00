"""Scores a trained policy on fresh episodes, and shows, films or records them (`slmk eval`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slmk.errors import CheckpointError, Problem, SpecError
from slmk.run_directory import RESOLVED, resolved_spec
from slmk.spec.document import dotted
from slmk.spec.lines import KeyPath
from slmk.spec.overrides import path_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from slmk.batch import Obs, Step
    from slmk.config import EnvConfig
    from slmk.env_info import EnvInfo
    from slmk.policy import Policy
    from slmk.spec import Blueprint

__all__ = ["Score", "score"]

_UNUSED: Final = ("reporter=[]", "launcher={}")
"""Overrides that leave out the sections of a spec which an evaluation does not use: their plugins need not be here."""
_RUN_KEYS: Final = (("run", "device"), ("run", "seed"))
_USES: Final = "of a spec it uses env but for num_envs, run.device and run.seed; --episodes says how many"


@dataclass(frozen=True, slots=True)
class Score:
    """The outcome of an evaluation."""

    checkpoint: Path
    episodes: int
    mean: float
    std: float
    length: float
    """Mean episode length in steps."""
    video: Path | None
    record: Path | None

    def __str__(self) -> str:
        film = f"\nvideo: {self.video}" if self.video else ""
        demonstrations = f"\ndemonstrations: {self.record}" if self.record else ""
        return (
            f"return {self.mean:.2f} ± {self.std:.2f} over {self.episodes} episodes "
            f"of {self.length:.1f} steps on average ({self.checkpoint}){film}{demonstrations}"
        )


def score(
    path: Path,
    episodes: int,
    *,
    render: bool = False,
    video: Path | None = None,
    record: Path | None = None,
    overrides: Sequence[str] = (),
) -> Score:
    """Play whole episodes with the deterministic policy of a checkpoint.

    Args:
        path: a run, one of its seeds, or a checkpoint; see `slmk.policy.find_checkpoint`.
        episodes: how many.
        render: show them in a window.
        video: write them to this file; its suffix names the format.
        record: write them to this folder as a Minari dataset.
        overrides: changes to the spec: of the environment's options, of ``run.device`` and ``run.seed``.

    Raises:
        CheckpointError: there is no run or no checkpoint.
        SpecError: the environment has other observations or actions than the one in which the policy was trained, or
            an override changes nothing here.
        RunError: they cannot be shown, filmed or recorded; of a recording nothing is left then.
    """
    import tomli

    from slmk.spec import load

    spec = resolved_spec(path)
    if spec is None:
        raise CheckpointError(f"{path} does not belong to a run: no {RESOLVED} above it")
    paths = [key for override in overrides if (key := path_of(override))]
    _refuse_idle(key for key in paths if (key[0] != "env" or key[1:] == ("num_envs",)) and key not in _RUN_KEYS)
    filmed = render or video is not None
    # Another backend would have another number of them, with which the algorithm's rules for training may not be kept.
    trained_on = tomli.loads(spec.read_text(encoding="utf-8"))["env"]["num_envs"]
    own = (f"env.num_envs={trained_on}", *(("env.render=true",) if filmed else ()))
    blueprint = load(spec, (*_UNUSED, *overrides, *own))
    _refuse_idle(key for key in paths if len(key) == 2 and key[1] in _replaced(blueprint.env.config))
    blueprint.env.config.prepare()
    return _score(blueprint, path, episodes, render=render, video=video, record=record)


def _refuse_idle(paths: Iterable[KeyPath]) -> None:
    """Raise for what would change nothing: the policy is that of the checkpoint."""
    problems = [Problem("has no effect on an evaluation", dotted(key), hint=_USES) for key in paths]
    if problems:
        raise SpecError(problems)


def _replaced(config: EnvConfig) -> set[str]:
    """Names of options that evaluation replaces, such as the scale of rewards; not of tables, to which it only adds."""
    played = config.for_evaluation(config.num_envs)
    found = ((name, getattr(config, name)) for name in type(config).model_fields)
    return {name for name, value in found if not isinstance(value, Mapping) and value != getattr(played, name)}


def _score(
    blueprint: Blueprint, path: Path, episodes: int, *, render: bool, video: Path | None, record: Path | None
) -> Score:
    from slmk.assembly import build_env
    from slmk.evaluation import MAX_ENVS, play
    from slmk.policy import Policy, find_checkpoint, registry_of
    from slmk.recording import Recording
    from slmk.streams import Streams
    from slmk.viewer import Film, Window

    checkpoint = find_checkpoint(path)
    policy = Policy.load(checkpoint, device=blueprint.run.device, registry=registry_of(checkpoint))
    filmed = render or video is not None
    seed = Streams(blueprint.run.seed).integer("score")
    env = build_env(blueprint, num_envs=1 if filmed else min(episodes, MAX_ENVS), seed=seed)
    viewers: list[Callable[[npt.NDArray[np.uint8] | None], None]] = []
    watchers: list[Callable[[Obs, Tensor, Step], None]] = []
    with ExitStack() as stack:
        stack.callback(env.close)
        _require_same_spaces(policy, env.info)
        if render:
            viewers.append(stack.enter_context(Window()).show)
        if video is not None:
            viewers.append(stack.enter_context(Film(video)).add)

        if record is not None:
            about = _about(blueprint, checkpoint, env.info.num_envs)
            watchers.append(stack.enter_context(Recording(record, env.info, episodes, about)).add)

        def each_step(obs: Obs, action: Tensor, step: Step) -> None:
            for watch in watchers:
                watch(obs, action, step)
            frame = env.render() if viewers else None
            for view in viewers:
                view(frame)

        act, recurrence = policy.agent.algorithm.policy, policy.recurrence
        played = play(env, act, recurrence, episodes, seed=seed, each_step=each_step)
    row = played.as_row()
    mean, std, length = (row[f"eval/{name}"] for name in ("return_mean", "return_std", "length_mean"))
    return Score(checkpoint, len(played.returns), mean, std, length, video, record)


def _require_same_spaces(policy: Policy, given: EnvInfo) -> None:
    """What the policy reads may have other bounds, as in another simulator of the robot, but no other shape."""
    from slmk.env_info import same_range

    mine, theirs = (
        {name: space.shape for name, space in sorted(info.observation_spaces.items()) if name in policy.reads}
        for info in (policy.env, given)
    )
    problems = []
    if mine != theirs:
        message = "the policy was trained with other observations"
        problems.append(Problem(message, "env", expected=str(mine), found=str(theirs)))
    actions = policy.env.action_space, given.action_space
    if not same_range(*actions):
        message = "the policy was trained with other actions"
        problems.append(Problem(message, "env", expected=str(actions[0]), found=str(actions[1])))
    if problems:
        raise SpecError(problems)


def _about(blueprint: Blueprint, checkpoint: Path, num_envs: int) -> dict[str, Any]:
    """Metadata of a recording, by Minari's names, and the task that was played."""
    from slmk.assembly import task_of

    return {
        "algorithm_name": blueprint.algorithm.component.name,
        "description": f"The policy of slmk's checkpoint {checkpoint}, without exploration",
        "slmk_task": task_of(blueprint.env, num_envs),
    }
