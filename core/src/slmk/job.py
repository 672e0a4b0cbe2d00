"""One seed of a trial in one process: build, restore, train, summarise."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmk import world
from slmk.config import RunConfig
from slmk.errors import CheckpointError
from slmk.files import read_json, write_json, writing
from slmk.locks import held
from slmk.logs import say_stopping
from slmk.reporting import Reporters
from slmk.run_directory import CHECKPOINTS, MANIFEST, METRICS, RESOLVED, SUMMARY, session_directory
from slmk.spec import Blueprint, load

if TYPE_CHECKING:
    from slmk.session import Session

__all__ = ["process_of", "run_job"]

OnRow = Callable[[Mapping[str, Any]], None]


def run_job(job: Mapping[str, Any], on_row: OnRow) -> dict[str, Any]:
    """Run one session to its end, or to a signal.

    Args:
        job: ``directory`` of the run, which holds ``resolved.toml``; ``seed``; ``resume``: whether to go on from the
            newest checkpoint; ``profile``: whether to write a profile.
        on_row: takes every row, in this process.

    Returns:
        The session's summary; with the key ``interrupted`` where a signal came, whose number it is, even if the
        session was at its end: no other session is to follow then.

    Raises:
        SpecError: the parts do not fit together.
        CheckpointError: the newest checkpoint cannot be read.
        RunError: the run could not go on.
    """
    with _signals() as caught:
        blueprint = load(Path(job["directory"], RESOLVED))
        # Before anything heavy is imported: import order matters to some simulators.
        blueprint.env.config.prepare()
        wanted = job.get("profile", False) and world.rank() == 0
        profile = _profile(session_directory(Path(job["directory"]), job["seed"]), wanted)
        with profile, process_of(blueprint.run):
            summary = _run(blueprint, job, on_row, caught)
        stopped = world.any_of(bool(caught))  # Now that everything is closed, which may take seconds.
    return {**summary, "interrupted": caught[0] if caught else signal.SIGTERM} if stopped else summary


def _run(blueprint: Blueprint, job: Mapping[str, Any], on_row: OnRow, caught: list[int]) -> dict[str, Any]:
    from slmk.session import Session

    # The files of the first process are the run's; the others have checkpoints to go on from, and nothing else.
    rank = f"rank-{world.rank()}" if world.rank() else ""
    directory = session_directory(Path(job["directory"], rank), job["seed"])
    with closing(Session(blueprint, job["seed"])) as session:
        if directory.exists() and not job.get("resume"):
            raise CheckpointError(f"{directory} exists already; resume it, or choose another directory")
        with writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
        with held(directory):
            return _train(session, directory, job, on_row, caught)


def _train(
    session: Session, directory: Path, job: Mapping[str, Any], on_row: OnRow, caught: list[int]
) -> dict[str, Any]:
    from slmk.checkpoint import Checkpoints, read_checkpoint
    from slmk.loop import train

    blueprint, checkpoints = session.blueprint, Checkpoints(directory / CHECKPOINTS)
    if job.get("resume") and (newest := checkpoints.newest_of_all()) is not None:
        session.load_state_dict(read_checkpoint(newest)[0])
    manifest = read_json(Path(job["directory"], MANIFEST))
    reporters = Reporters(blueprint if world.rank() == 0 else replace(blueprint, reporters=()), "seed", directory)

    def emit(row: Mapping[str, Any]) -> None:
        if row["kind"] != "progress":
            reporters.report(row)
        on_row(row)

    try:
        reporters.start(
            {**manifest, "seed": session.seed, "resume_from": session.env_steps if job.get("resume") else None}
        )
        if not world.any_of(bool(caught)):
            train(session, checkpoints, emit, lambda: bool(caught))
        own = _summarise(session, directory, manifest) if world.rank() == 0 else None
        summary: dict[str, Any] = world.told(own)
        reporters.finish(summary)
        return summary
    finally:
        reporters.close()


@contextmanager
def process_of(config: RunConfig) -> Iterator[None]:
    """Within it this process computes as sessions of such runs do, and as before afterwards: it may be the user's."""
    import structlog
    import torch

    from slmk.arithmetic import multiplies_in, products_in, subnormals_flushed
    from slmk.assembly import resolve_device
    from slmk.heap import freed_memory_kept

    device, log = resolve_device(config.device), structlog.get_logger()
    if not multiplies_in(config.matmul, device):
        log.warning("no such arithmetic, products stay in float32", matmul=config.matmul, device=config.device)
    elif config.matmul == "bf16" and device.type == "cpu" and config.compile == "off":
        log.warning("only compiled updates multiply in bf16, products stay in float32", compile=config.compile)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(config.threads)
        with products_in(config.matmul), subnormals_flushed(), freed_memory_kept():
            yield
    finally:
        torch.set_num_threads(threads)


def _summarise(session: Session, directory: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    from slmk.builtin.jsonl import read_rows
    from slmk.metrics import session_summary

    summary = session_summary(read_rows(directory / METRICS), manifest["random_return"])
    summary["choices"] = session.choices
    write_json(directory / SUMMARY, summary)
    return summary


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list instead of dying, so that the loop can write a checkpoint first.

    A second signal acts as it would have before, but for a SIGINT that was ignored, as where a shell has started this
    in the background: it acts as usual. The process that the user has started says so; to others the signal was passed
    on.
    """
    caught: list[int] = []
    before: dict[int, Any] = {}

    def handle(number: int, frame: Any) -> None:
        caught.append(number)
        for each, previous in before.items():
            signal.signal(each, signal.default_int_handler if previous is signal.SIG_IGN else previous)
        if multiprocessing.parent_process() is None and world.rank() == 0:
            say_stopping()

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
        if hasattr(signal, "pthread_sigmask"):  # A launcher has held them back until now.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, tuple(before))
    except ValueError:
        pass  # Not the main thread: signals are the caller's affair.
    try:
        yield caught
    finally:
        for each, previous in before.items():
            signal.signal(each, previous)


@contextmanager
def _profile(directory: Path, wanted: bool) -> Iterator[None]:
    """Write ``profile.pstats`` and a readable ``profile.txt`` into the session's directory."""
    if not wanted:
        yield
        return
    import cProfile
    import pstats

    profile = cProfile.Profile()
    try:
        profile.enable()
        yield
    finally:
        profile.disable()
        if directory.exists():  # Otherwise the session did not begin.
            profile.dump_stats(directory / "profile.pstats")
            with (directory / "profile.txt").open("w", encoding="utf-8") as file:
                pstats.Stats(profile, stream=file).sort_stats("tottime").print_stats(50)
