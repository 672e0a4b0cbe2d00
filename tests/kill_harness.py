"""Runs a spec in forked children that are killed at random moments, until it is done. A program, not a test.

Forking spares each child the import of torch. Prints how many children were killed.
"""

import os
import random
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch

import slmk.loop
import slmk.session  # noqa: F401 - what children need is imported before they are forked
from slmk import trial


def child(work) -> int:
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)
        try:
            work()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return pid


def main(spec: str, out: str, kills: int, *overrides: str) -> None:
    chance = random.Random(0)
    directory = None
    for killed in range(kills + 1):
        pid = child(partial(trial.resume, directory) if directory else partial(trial.run, spec, overrides, out=out))
        if killed < kills:
            time.sleep(chance.uniform(0.1, 1.2))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if killed == kills or not os.WIFSIGNALED(status):
            print(f"kills={killed} status={status} directory={directory}")
            sys.exit(os.waitstatus_to_exitcode(status))
        # A child that died before it had written its directory is simply run again.
        made = [path.parent for path in Path(out).glob("*/*/manifest.json") if path.stat().st_size]
        directory = made[0] if made else None


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
