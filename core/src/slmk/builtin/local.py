"""The launcher ``local``: sessions as processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

from slmk import world
from slmk.builtin import LocalConfig
from slmk.config import RunConfig
from slmk.cores import cores, share_cores
from slmk.errors import RunError, SlmkError
from slmk.logs import hand_over_logs, log_again, say_stopping
from slmk.run_directory import RESOLVED
from slmk.spec import load

__all__ = ["Local", "places_for"]

OnRow = Callable[[Mapping[str, Any]], None]


class Local:
    """Runs the session of one seed in this process, those of several in processes of their own, as many at a time as
    there is room for; the last one that is left to resume, too.

    On CPUs there is room for one on every `run.threads` cores; with ``run.device = "cuda"`` for one on every GPU, which
    is the only one that it sees. In a world the processes are there already: each runs all sessions, one after the
    other.
    """

    def __init__(self, config: LocalConfig) -> None:
        self.config = config

    def launch(self, jobs: Sequence[Mapping[str, Any]], on_row: OnRow) -> Sequence[Mapping[str, Any]]:
        """See `slmk.protocols.Launcher.launch`. Ctrl-C and SIGTERM reach every session, which save and stop;
        a second time ends them at once.

        Raises:
            SlmkError: the first error of a session; the others are asked to save and stop.
        """
        run = load(Path(jobs[0]["directory"], RESOLVED)).run
        if run.seeds == 1 or world.size() > 1:
            return list(_in_turn(jobs, on_row))
        places = places_for(run)
        size = self.config.parallel or len(places)
        # By the seeds of the run, not by those that are left of it: numbers may depend on how many threads add them up.
        return _Pool(jobs, on_row, places, size, sharing=min(size, run.seeds)).run()


def places_for(run: RunConfig) -> list[str | None]:
    """Where sessions can run side by side: the name of a CUDA device each, or None for some cores."""
    if run.device == "cuda":
        return list(_cuda_devices()) or [None]
    return [None] * (1 if run.device != "cpu" else max(1, cores() // run.threads))


def _cuda_devices() -> Iterable[str]:
    """The names of the devices that this process may use, as in ``CUDA_VISIBLE_DEVICES``."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return visible.split(",") if visible else ()
    import torch

    return map(str, range(torch.cuda.device_count()))


def _in_turn(jobs: Sequence[Mapping[str, Any]], on_row: OnRow) -> Iterator[Mapping[str, Any]]:
    """In this process, one after the other, until one is interrupted: so do all processes of a world."""
    from slmk.job import run_job

    for job in jobs:
        summary = run_job(job, on_row)
        yield summary
        if "interrupted" in summary:
            return


class _Pool:
    """Spawned sessions, each with a pipe that carries ``(word, value)`` messages to this process."""

    def __init__(
        self, jobs: Sequence[Mapping[str, Any]], on_row: OnRow, places: Sequence[str | None], size: int, sharing: int
    ) -> None:
        self.jobs = jobs
        self.waiting = list(enumerate(jobs))
        self.on_row = on_row
        self.free = [places[index % len(places)] for index in range(size)]
        """Places (see `places_for`) where further sessions can run."""
        self.sharing = sharing
        """Sessions that divide the cores among them."""
        self.context = multiprocessing.get_context("spawn")
        self.running: dict[Connection, tuple[int, Any, str | None]] = {}
        """The number of each session, its process and its place."""
        self.summaries: dict[int, Mapping[str, Any]] = {}
        self.error: BaseException | None = None
        self.signals: list[int] = []
        """Numbers of the signals that the user has sent."""
        self.passed_on = 0

    def run(self) -> list[Mapping[str, Any]]:
        """Until every session has ended. What a signal kept from starting, or killed, counts as interrupted."""
        with self._catching_signals():
            while self.waiting or self.running:
                self._turn()
        if self.error is not None:
            raise self.error
        return [self.summaries.get(index) or {"interrupted": self.signals[0]} for index in range(len(self.jobs))]

    @contextmanager
    def _catching_signals(self) -> Iterator[None]:
        """Pass SIGINT and SIGTERM on to the sessions, which are in groups of their own, and go on until they end.

        A second later at most. They take any number of signals as one request; so the next signal kills them.
        """
        before: dict[int, Any] = {}
        with suppress(ValueError):  # Not the main thread: signals are the caller's affair.
            for number in (signal.SIGINT, signal.SIGTERM):
                before[number] = signal.signal(number, self._interrupt)
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if not self.signals:
            say_stopping()
        self.signals.append(number)

    def stop(self, number: int) -> None:
        """Start no more sessions, and ask those that run to save and stop."""
        self.waiting.clear()
        for _, process, _ in self.running.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _turn(self) -> None:
        for number in self.signals[self.passed_on :]:  # Here, not in the handler: it may interrupt the start of one.
            if self.passed_on:
                self._kill()
            else:
                self.stop(number)
            self.passed_on += 1
        while self.waiting and self.free:
            self._start(*self.waiting.pop(0), self.free.pop(0))
        for connection in wait(list(self.running), timeout=1.0):
            self._receive(connection)  # type: ignore[arg-type]

    def _kill(self) -> None:
        for _, process, _ in self.running.values():
            process.kill()

    def _start(self, index: int, job: Mapping[str, Any], place: str | None) -> None:
        ours, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(target=_work, args=(dict(job), place, self.sharing, theirs), daemon=False)
        with _signals_held_back():
            process.start()
        theirs.close()
        self.running[ours] = (index, process, place)

    def _receive(self, connection: Connection) -> None:
        index, process, place = self.running[connection]
        try:
            word, value = connection.recv()
        except (EOFError, OSError):  # Killed, it may be within a message.
            process.join()
            del self.running[connection]
            self.free.append(place)
            if index not in self.summaries and not self.signals:
                self._fail(RunError(f"a session died (exit code {process.exitcode}); `slmk resume` goes on with it"))
            return
        if word == "row":
            try:
                self.on_row(value)
            except SlmkError as error:
                self._fail(error)
        elif word == "log":
            log_again(*value)
        elif word == "done":
            self.summaries[index] = value
        else:
            self._fail(value)

    def _fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
            self.stop(signal.SIGTERM)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """A process that is started meanwhile gets its signals when its session is ready for them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # To start it would let signals through.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(job: Mapping[str, Any], place: str | None, sharing: int, connection: Connection) -> None:
    """The body of a session's process.

    It takes the first signal, whoever sends it, as a request to save and stop; to end it at once takes SIGKILL. Where
    all processes of a service are signalled, it gets the signal once more from its parent.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore)  # What a session's own handlers give way to after the first signal.
    share_cores(sharing)
    if place is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place  # Before anything looks for devices: torch, JAX and Warp then agree.
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches the parent alone, which passes it on once.

    from slmk.job import run_job

    parent = _Parent(connection)
    hand_over_logs(lambda *event: parent.tell("log", event), seed=job["seed"])
    try:
        parent.tell("done", run_job(job, lambda row: parent.tell("row", dict(row))))
    except SlmkError as error:
        parent.tell("error", error)


def _ignore(number: int, frame: FrameType | None) -> None:
    """A handler, since a child would inherit SIG_IGN."""


class _Parent:
    """The process that waits for a session."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_there = True

    def tell(self, word: str, value: Any) -> None:
        """Send a message. When the parent is gone, nobody waits for this session any more: it is to save and stop."""
        if self._is_there:
            try:
                self._connection.send((word, value))
            except BrokenPipeError:
                self._is_there = False
                os.kill(os.getpid(), signal.SIGTERM)
