"""A trial: the sessions of one spec, in parallel processes, and what they add up to."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from slmk import world
from slmk.cores import share_cores
from slmk.errors import CheckpointError, PluginError, RunError, SpecError
from slmk.files import read_json, write_json
from slmk.locks import held
from slmk.registry import get_registry
from slmk.run_directory import MANIFEST, METRICS, RESOLVED, SESSIONS, SPEC, SUMMARY, session_directory
from slmk.spec import Blueprint, load

__all__ = ["Result", "resume", "run"]


@dataclass(frozen=True, slots=True)
class Result:
    """What a trial left."""

    directory: Path
    """The run directory."""
    summary: Mapping[str, Any]
    """The content of ``summary.json``."""
    interrupted: int | None = None
    """The number of the signal that stopped it, if one did."""


def run(
    spec: str | Path | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    out: str | Path = "runs",
    profile: bool = False,
    join: bool = False,
) -> Result:
    """Train a spec from the beginning.

    Args:
        spec: a TOML file, or its content as a mapping.
        overrides: changes such as ``"env.id=Hopper-v5"``.
        out: where run directories go: ``out/<spec name>/<time>-<id>``.
        profile: write a profile of each session.
        join: meet the processes that ``torchrun`` has started besides this one, and train together (`slmk.world`).
            After an error, a process with CUDA devices has to end at once: see `slmk.world.leave`.

    Raises:
        SpecError: the spec is wrong, or its parts do not fit together.
        PluginError: a plugin that the spec names is broken.
        RunError: the run could not go on.

    After an error, the run directory stays, and can be resumed, unless the spec or a plugin was found wrong before any
    session had begun: then nothing is left behind.
    """
    _refuse_while_main_is_imported()
    blueprint = load(spec, overrides)
    with _world(blueprint, join):
        directory = _directory(Path(out), blueprint)
        new = [folder for folder in directory.parents if not folder.exists()]
        if world.rank() == 0:
            _begin(directory, blueprint)
        directory = world.told(directory)
        try:
            with _held(directory):
                return _launch(directory, blueprint, resuming=False, profile=profile)
        except (SpecError, PluginError):
            if world.rank() == 0 and not any(directory.rglob(SESSIONS)):
                _remove(directory, new)
                structlog.get_logger("slmk").info("nothing was trained, so the run directory is removed again")
            raise


def resume(directory: str | Path, *, profile: bool = False, join: bool = False) -> Result:
    """Go on with every session of a run from its newest checkpoint.

    Args:
        directory: the run's.
        profile: write a profile of each session.
        join: as for `run`.

    Raises:
        CheckpointError: the directory is not that of a run, a checkpoint cannot be read, or the run was made by another
            number of processes.
        RunError: the run could not go on, or another process is at it.
    """
    _refuse_while_main_is_imported()
    directory = Path(directory)
    for name in (RESOLVED, MANIFEST):
        if not (directory / name).is_file():
            raise CheckpointError(f"{directory} is not a run directory: it has no {name}")
    blueprint = load(directory / RESOLVED)
    with _world(blueprint, join):
        before = read_json(directory / MANIFEST).get("processes", 1)
        if before != world.size():
            message = f"{directory} was made by {before} processes and needs as many; here: {world.size()}"
            raise CheckpointError(message)
        with _held(directory):
            return _launch(directory, blueprint, resuming=True, profile=profile)


def _refuse_while_main_is_imported() -> None:
    """Raise in a process that a run has started, while it imports the program that began this run.

    The attribute is what `multiprocessing` itself asks before it starts a process.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        message = "a run starts processes, which import the program that began it and must not begin it again"
        raise RunError(f'{message}; put what begins it under `if __name__ == "__main__":`')


@contextmanager
def _world(blueprint: Blueprint, join: bool) -> Iterator[None]:
    """Together with the other processes, if so wanted."""
    if join:
        share_cores(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        world.claim_device(blueprint.run.device)
        blueprint.env.config.prepare()  # Joining imports torch.
        from slmk.assembly import resolve_device

        resolve_device(blueprint.run.device)  # Before others wait for a process that has none.
        world.join()
    try:
        yield
    except BaseException:
        world.leave(failed=True)
        raise
    else:
        world.leave()
    finally:
        if join:
            share_cores(1)


def _held(directory: Path) -> AbstractContextManager[None]:
    """The run directory for this process alone. In a world, the first process holds it for all."""
    return held(directory) if world.rank() == 0 else nullcontext()


def _launch(directory: Path, blueprint: Blueprint, *, resuming: bool, profile: bool) -> Result:
    from slmk.reporting import Reporters

    seeds = _seeds(blueprint)
    reports = world.rank() == 0
    jobs = [
        {"directory": str(directory), "seed": seed, "resume": resuming, "profile": profile}
        for seed in seeds
        if not (resuming and _finished(directory, seed))
    ]
    jobs = world.told(jobs)
    if not jobs:
        structlog.get_logger("slmk").info("every session is done already", directory=str(directory))
    reporters = Reporters(blueprint if reports else replace(blueprint, reporters=()), "trial", directory)
    try:
        reporters.start(read_json(directory / MANIFEST))
        launcher: Any = get_registry().load(blueprint.launcher.component)
        summaries = launcher(blueprint.launcher.config).launch(jobs, reporters.report) if jobs else []
        left = world.told([seed for seed in seeds if not _finished(directory, seed)] if reports else None)
        # A signal that came when all was done interrupted nothing.
        interrupted = world.told(_signal(summaries)) if left else None
        if left and interrupted is None:
            name, seeds_left = blueprint.launcher.component.name, ", ".join(f"seed {seed}" for seed in left)
            message = f"the launcher '{name}' ended before all was done (left: {seeds_left})"
            raise RunError(f"{message}; `slmk resume {directory}` goes on")
        summary = world.told(_summarise(directory, blueprint, seeds) if reports else None)
        reporters.finish(summary)
    finally:
        reporters.close()
    return Result(directory, summary, interrupted)


def _signal(summaries: object) -> int | None:
    """The number of the signal that stopped a session, by what a launcher has returned."""
    told = summaries if isinstance(summaries, Sequence) else ()
    return next((each["interrupted"] for each in told if isinstance(each, Mapping) and "interrupted" in each), None)


def _seeds(blueprint: Blueprint) -> list[int]:
    return [blueprint.run.seed + index for index in range(blueprint.run.seeds)]


def _finished(directory: Path, seed: int) -> bool:
    """Whether a session has come to the end of its budget."""
    path = session_directory(directory, seed) / SUMMARY
    budget: int = read_json(directory / MANIFEST)["env_steps"]
    return path.exists() and (read_json(path)["env_steps"] or 0) >= budget


def _summarise(directory: Path, blueprint: Blueprint, seeds: Sequence[int]) -> dict[str, Any]:
    from slmk.builtin.jsonl import read_rows
    from slmk.metrics import trial_summary

    paths = [session_directory(directory, seed) for seed in seeds]
    done = [path for path in paths if (path / SUMMARY).exists()]
    summary = trial_summary(
        blueprint.name,
        [read_json(path / SUMMARY) for path in done],
        [read_rows(path / METRICS) for path in done],
        read_json(directory / MANIFEST)["random_return"],
        blueprint.target.model_dump() if blueprint.target else None,
        seeds=len(seeds),
    )
    write_json(directory / SUMMARY, summary)
    return summary


def _directory(out: Path, blueprint: Blueprint) -> Path:
    """The directory of a new run."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return out / blueprint.name / f"{stamp}-{secrets.token_hex(2)}"


def _begin(directory: Path, blueprint: Blueprint) -> None:
    """Make the directory, with what is known before the run.

    Raises:
        RunError: it cannot be written.
    """
    from slmk.manifest import manifest

    try:
        directory.mkdir(parents=True)
        (directory / SPEC).write_text(blueprint.text, encoding="utf-8")
        (directory / RESOLVED).write_text(blueprint.resolved_toml(), encoding="utf-8")
        write_json(directory / MANIFEST, manifest(blueprint, _seeds(blueprint)))
    except OSError as error:
        raise RunError(f"cannot write to the run directory {directory}: {error.strerror}") from error


def _remove(directory: Path, above: Sequence[Path]) -> None:
    """Remove the directory of a run that was refused, and folders `above` it unless another run has begun there."""
    shutil.rmtree(directory)
    with suppress(OSError):
        for folder in above:
            folder.rmdir()
