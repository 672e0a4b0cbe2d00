"""Where the output of commands goes: to readers that go away, and to streams and files of poor encodings."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest
import tomli_w

from slmk.cli import main
from slmk.testing.toy_runs import toy_spec

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def python(*words, environment=MappingProxyType({}), **options):
    """A process whose stdout has a buffer, as it has where nobody says otherwise."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    options = {"env": inherited | environment, "encoding": "utf-8", "errors": "replace", "timeout": 120} | options
    return subprocess.run([sys.executable, *map(str, words)], **options)


def slmk(*words, **options):
    return python("-m", "slmk", *words, **options)


def spec_file(folder: Path, **changes) -> Path:
    path = folder / "toy.toml"
    path.write_bytes(tomli_w.dumps(toy_spec() | changes).encode())
    return path


@pytest.fixture
def unread():
    """A pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_goes_on_when_nobody_reads_its_output_any_more(seeds, unread, tmp_path):
    """`slmk run | head`: the console says that it is off, and all else is as ever."""
    command = ("run", spec_file(tmp_path), "--seeds", seeds, "--out", tmp_path / "runs")
    done = slmk(*command, stdout=unread, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert "reporter switched off" in line
    assert "nobody reads stdout any more" in line
    assert len(list(tmp_path.rglob("summary.json"))) == seeds + 1


def test_nor_does_it_need_a_reader_of_its_log(unread, tmp_path):
    """`slmk run 2>&1 | head`."""
    command = ("run", spec_file(tmp_path), "--seeds", 2, "--out", tmp_path / "runs")
    assert slmk(*command, stdout=unread, stderr=unread).returncode == 0
    assert len(list(tmp_path.rglob("summary.json"))) == 3


def test_a_command_whose_reader_has_seen_enough_ends(unread):
    """`slmk plugins | head -1`: without a word, as what SIGPIPE has ended."""
    done = slmk("plugins", stdout=unread, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_what_others_print_is_dropped_in_silence(unread, tmp_path):
    """A plugin's `print` stays in the buffer until Python ends."""
    code = (
        "import sys, slmk.listing; from slmk.cli import main\n"
        "slmk.listing.rows = lambda out: sys.exit(print('a word'))\n"
        "main(['list'])"
    )
    done = python("-c", code, stdout=unread, stderr=subprocess.PIPE, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_broken_pipe_is_an_error(tmp_path, monkeypatch):
    """That of a simulator's process is not taken for stdout's."""

    def fail(out):
        raise BrokenPipeError("a worker died")

    monkeypatch.setattr("slmk.listing.rows", fail)
    with pytest.raises(RuntimeError, match="a process at the other end of a pipe is gone"):
        main(["list", "--out", str(tmp_path)])


def test_files_are_utf8_whatever_the_locale(tmp_path):
    """What is not ASCII in a spec gets into the run directory and to its reporters."""
    source = "Müller – 2020"
    reporters = [{"name": "report"}, {"name": "tensorboard"}]
    spec = spec_file(tmp_path, target={"score": 1.0, "source": source}, reporter=reporters)
    done = slmk("run", spec, "--out", tmp_path / "runs", capture_output=True, environment=ASCII)
    assert done.returncode == 0, done.stderr
    assert "switched off" not in done.stderr
    assert "M?ller - 2020" in done.stdout
    (directory,) = (tmp_path / "runs").glob("*/*")
    for name in ("spec.toml", "resolved.toml", "report.html"):
        assert source in (directory / name).read_bytes().decode()
    assert json.loads((directory / "summary.json").read_bytes())["target"]["source"] == source


def test_stdout_spells_what_it_can():
    """Descriptions have characters that Latin-1 lacks: they become question marks."""
    done = slmk("describe", "algo", "ppo", capture_output=True, environment={"PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0, done.stderr
    assert "?" in done.stdout
    assert done.stderr == ""
