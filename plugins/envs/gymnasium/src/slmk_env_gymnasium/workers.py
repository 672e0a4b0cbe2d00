"""Environments shared among processes: each worker steps a run of rows, in parallel with the others.

Workers are started with a fresh interpreter rather than by `multiprocessing`, so that they also work under a script
without ``if __name__ == "__main__"``, in a notebook and below a daemonic process. A worker ends when its pipe closes,
hence also when this process is killed. Messages are small (actions and observations of some environments), so that a
pipe is as fast as shared memory, and leaves nothing behind.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import traceback
from contextlib import closing
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import cloudpickle  # type: ignore[import-untyped]  # Gymnasium depends on it
import numpy as np
import numpy.typing as npt

from slmk.cores import cores
from slmk.errors import RunError

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

    from slmk_env_gymnasium import GymnasiumConfig
    from slmk_env_gymnasium.layout import Array, Arrays
    from slmk_env_gymnasium.rows import Rows
    from slmk_env_gymnasium.simulation import Outcome

__all__ = ["Workers", "serve"]

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]);"
    "from slmk_env_gymnasium.workers import serve; serve(int(sys.argv[1]))"
)


class Workers:
    """`Rows` in as many processes as there are cores, each with an equal share of the environments."""

    def __init__(self, spec: EnvSpec, config: GymnasiumConfig) -> None:
        """Start the workers.

        Raises:
            RunError: the environment cannot be sent to another process, or not be made there.
        """
        self._build = _pickled(spec, config)
        count = min(cores(), config.num_envs)
        starts = [config.num_envs * k // count for k in range(count + 1)]
        self._shares = [slice(a, b) for a, b in pairwise(starts)]
        self._workers = [_start_worker() for _ in range(count)]
        try:
            self.exact = self.rebuild()
        except RunError:
            self.close()
            raise

    def rebuild(self) -> bool:
        """Make all environments anew, and say whether their state can be restored exactly."""
        return all(self._call("build", [(self._build, share.stop - share.start) for share in self._shares]))

    def reset(self, seed: int | None) -> Arrays:
        """Start all episodes anew; environment i is seeded with ``seed + i`` whichever worker has it."""
        return _join(self._call("reset", [(None if seed is None else seed + share.start,) for share in self._shares]))

    def step(self, actions: Array) -> Outcome:
        """Act once in every environment and restart what ended."""
        parts = self._call("step", [(actions[share],) for share in self._shares])
        obs, final, *rest = zip(*parts, strict=True)
        joined = _join(obs)
        some_ended = any(first is not last for first, last in zip(obs, final, strict=True))
        reward, terminated, truncated = (np.concatenate(arrays) for arrays in rest)
        return joined, _join(final) if some_ended else joined, reward, terminated, truncated

    def get_state(self) -> list[Any]:
        """The state of each environment."""
        return [state for part in self._call("get_state", [()] * len(self._workers)) for state in part]

    def set_state(self, state: list[Any]) -> None:
        """Restore each environment."""
        self._call("set_state", [(state[share],) for share in self._shares])

    def render(self) -> npt.NDArray[np.uint8] | None:
        """A picture of the first environment."""
        return self._call("render", [()])[0]  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the workers and wait for them."""
        for _, pipe in self._workers:
            pipe.close()
        for process, _ in self._workers:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._workers = []

    def _call(self, method: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        """Call `method` in the first workers, in parallel, each with its own arguments."""
        busy = self._workers[: len(arguments)]
        try:
            for (_, pipe), values in zip(busy, arguments, strict=True):
                pipe.send((method, values))
            answers = [pipe.recv() for _, pipe in busy]
        except (EOFError, OSError) as error:
            raise RunError("a worker process of the environments died; what it wrote to stderr says why") from error
        return [_value(answer) for answer in answers]


def serve(fd: int) -> None:
    """The worker's side: obey until the pipe closes, and then close the environments."""
    with closing(_Worker()) as worker, Connection(fd) as pipe:
        while True:
            try:
                method, values = pipe.recv()
            except (EOFError, ConnectionResetError):
                return
            try:
                answer = (True, getattr(worker, method)(*values))
            except Exception as error:
                answer = (False, f"{error}\n{traceback.format_exc()}")
            pipe.send(answer)


class _Worker:
    """Builds rows, and passes everything else on to them."""

    _rows: Rows | None = None

    def build(self, pickled: bytes, size: int) -> bool:
        from slmk_env_gymnasium.layout import Layout
        from slmk_env_gymnasium.make import make
        from slmk_env_gymnasium.rows import Rows

        self.close()
        spec, config = cloudpickle.loads(pickled)
        envs = [make(spec, config) for _ in range(size)]
        self._rows = Rows(envs, Layout(envs[0].observation_space))
        return self._rows.exact

    def close(self) -> None:
        """Close the environments, those that were only measured too."""
        if self._rows is not None:
            self._rows.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)


def _pickled(spec: EnvSpec, config: GymnasiumConfig) -> bytes:
    try:
        return cloudpickle.dumps((spec, config))  # type: ignore[no-any-return]
    except Exception as error:  # whatever an unusual class raises when it is pickled
        raise RunError(f"'{spec.id}' cannot be sent to a worker process: {error}") from error


def _start_worker() -> tuple[subprocess.Popen[bytes], Connection]:
    here, there = multiprocessing.Pipe()
    command = [sys.executable, "-c", _START, str(there.fileno()), json.dumps(sys.path)]
    # A session of its own, because Ctrl-C is for the run to handle: it may still want to write a checkpoint.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[there.fileno()], start_new_session=True)
    there.close()
    return process, here


def _value(answer: tuple[bool, Any]) -> Any:
    """What a call returned. All answers are read by now, so that an error leaves the others in step."""
    if not answer[0]:
        raise RunError(f"an environment failed in a worker process: {answer[1]}")
    return answer[1]


def _join(parts: Any) -> Arrays:
    """Arrays of all environments from those of each worker."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
