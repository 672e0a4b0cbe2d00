"""What a run in the user's own process does to that process, and asks of the user's program."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs

from slmk import trial
from slmk.arithmetic import chosen_matmul, multiplies_in
from slmk.config import RunConfig
from slmk.job import process_of

SPEC = Path(__file__).parent.parent / "specs" / "classic" / "ppo_cartpole.toml"
SMALL = ("run.seeds=1", "run.env_steps=256", "run.compile='off'", "run.eval_episodes=1", "algorithm.horizon=64")
SETTINGS = ("run.threads=3", "run.matmul='bf16'", "reporter=[]")


def arithmetic() -> dict[str, object]:
    """How torch computes here."""
    return {
        "threads": torch.get_num_threads(),
        "matmul": (chosen_matmul(), torch.get_float32_matmul_precision()),
        "flushes": (torch.tensor([1e-39]) * 1.0).item() == 0.0,
    }


def test_a_run_computes_in_its_own_way_and_leaves_torch_as_it_was(tmp_path, monkeypatch):
    """Threads, products and numbers near zero are the spec's and the session's while it lasts, and no longer."""
    import slmk.loop

    during = []
    train = slmk.loop.train

    def watched(*arguments):
        during.append(arithmetic())
        return train(*arguments)

    monkeypatch.setattr(slmk.loop, "train", watched)
    before = arithmetic()
    trial.run(SPEC, (*SMALL, *SETTINGS), out=tmp_path)
    assert during == [{"threads": 3, "matmul": ("bf16", "high"), "flushes": True}]
    assert arithmetic() == before
    assert not before["flushes"]


@pytest.mark.skipif(not multiplies_in("bf16", torch.device("cpu")), reason="this CPU has no bf16 arithmetic")
@pytest.mark.parametrize(("compile", "words"), [("off", ["only compiled updates multiply in bf16"]), ("auto", [])])
def test_bf16_without_compiled_updates_is_said_to_make_no_difference(compile, words):
    """On a CPU it is for these alone."""
    with capture_logs() as logs, process_of(RunConfig(env_steps=1, matmul="bf16", compile=compile)):
        pass
    assert [entry["event"].split(",")[0] for entry in logs] == words


PROGRAM = """
from pathlib import Path

from slmk import trial
from slmk.testing.toy_runs import toy_spec

trial.{call}
"""


def test_a_program_without_a_guard_is_told_and_begins_one_run(tmp_path):
    """The processes of its seeds import it: they refuse to begin the run again, and to go on with it."""
    for call in ("run(toy_spec(seeds=2))", "resume(next(Path('runs').glob('*/*')))"):
        (tmp_path / "program.py").write_text(PROGRAM.format(call=call))
        command = [sys.executable, "program.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1
        assert 'must not begin it again; put what begins it under `if __name__ == "__main__":`' in done.stderr
        (directory,) = (tmp_path / "runs").glob("*/*")
        assert not list(directory.glob("seed-*"))
