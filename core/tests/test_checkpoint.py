"""Checkpoints: what they hold, and what happens to bad ones."""

import errno
import json
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

from slmk import CheckpointError, RunError
from slmk.checkpoint import TENSORS, TREE, read_checkpoint, write_checkpoint

GROWTH = """
import resource, sys
from pathlib import Path
import torch
from slmk.checkpoint import write_checkpoint

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

memory = torch.ones(2**25)
state = {"none": memory[:0], "filled": memory[:-1], "few": torch.ones(4)}
write_checkpoint(Path(sys.argv[1]) / "0", {"few": state["few"]}, {})
before = peak()
write_checkpoint(Path(sys.argv[1]) / "1", state, {})
print(peak() - before)
"""

READING = """
import resource, sys
from pathlib import Path
from slmk.checkpoint import read_checkpoint

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert read_checkpoint(Path(sys.argv[1]))[0]["algorithm"].tolist() == [1]
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def tree():
    flat = torch.arange(6.0)
    return {
        "flat": flat,
        "view": flat[2:5],
        "same": flat,
        "empty": torch.zeros(0),
        "array": np.array([[1, 2]], dtype=np.int64),
        "nested": {"list": [1, 2.5, None, "x", torch.tensor([True])], "number": np.float64(0.5)},
        "infinite": float("inf"),
    }


def test_a_tree_survives_writing_and_reading(tmp_path):
    """Tensors, arrays, views, numbers, None and infinity come back; arrays come back as tensors."""
    write_checkpoint(tmp_path / "1", tree(), {"seed": 3})
    state, about = read_checkpoint(tmp_path / "1")
    assert about == {"seed": 3}
    assert state["flat"].tolist() == [0, 1, 2, 3, 4, 5]
    assert state["view"].tolist() == [2, 3, 4]
    assert state["array"].tolist() == [[1, 2]]
    assert state["empty"].numel() == 0
    assert state["nested"]["list"][:4] == [1, 2.5, None, "x"]
    assert state["nested"]["list"][4].tolist() == [True]
    assert state["nested"]["number"] == 0.5
    assert state["infinite"] == float("inf")


def test_shared_memory_is_written_once(tmp_path):
    """One tensor under two names takes the space of one."""
    big = torch.zeros(100_000)
    write_checkpoint(tmp_path / "1", {"a": big, "b": big}, {})
    assert (tmp_path / "1" / TENSORS).stat().st_size < 410_000


@pytest.mark.skipif(platform.system() != "Linux", reason="other systems count memory in other ways")
def test_a_checkpoint_needs_no_memory_for_what_it_holds(tmp_path):
    """Writing 128 MiB from main memory takes less than 16 MiB besides: a replay is not copied first."""
    command = [sys.executable, "-c", GROWTH, str(tmp_path)]
    assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) < 16


def test_views_of_one_storage_come_back_whatever_their_order(tmp_path):
    """A part before the whole, a part that overlaps with another, one without entries, and a transposed whole."""
    flat = torch.arange(6.0)
    state = {"none": flat[3:3], "part": flat[2:5], "flat": flat, "other": flat[4:], "turned": flat.view(2, 3).T}
    write_checkpoint(tmp_path / "1", state, {})
    found = read_checkpoint(tmp_path / "1")[0]
    assert {name: x.tolist() for name, x in found.items()} == {name: x.tolist() for name, x in state.items()}


def test_nothing_temporary_is_left(tmp_path):
    """After a write there is the checkpoint and nothing else, also when it replaces one."""
    for _ in range(2):
        write_checkpoint(tmp_path / "1", tree(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_full_disk_leaves_the_old_checkpoint_alone(tmp_path, monkeypatch):
    """When writing fails half-way, the error passes on, the former checkpoint stays whole and no rest is left."""
    write_checkpoint(tmp_path / "1", {"x": torch.tensor([1.0])}, {})

    def full(*args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("slmk.checkpoint._write_synced", full)
    with pytest.raises(RunError, match=r"cannot write .*1: No space left on device"):
        write_checkpoint(tmp_path / "1", {"x": torch.tensor([2.0])}, {})
    assert read_checkpoint(tmp_path / "1")[0]["x"].item() == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize("victim", [TENSORS, TREE])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.97])
def test_truncated_files_are_refused(tmp_path, victim, keep):
    """A file cut short is a CheckpointError that names the checkpoint, not a crash."""
    write_checkpoint(tmp_path / "1", tree(), {})
    path = tmp_path / "1" / victim
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(CheckpointError, match=str(tmp_path / "1")):
        read_checkpoint(tmp_path / "1")


def test_a_truncated_checkpoint_names_the_older_one(tmp_path):
    """What to do is said where it can be done."""
    for name in ("1", "2"):
        write_checkpoint(tmp_path / name, tree(), {})
        (tmp_path / name / TENSORS).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"delete that folder to go on from 1$"):
        read_checkpoint(tmp_path / "2")
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "1")
    assert "delete" not in str(caught.value)


def test_a_file_that_cannot_be_mapped_is_told_with_what_would_help(tmp_path, monkeypatch):
    """Linux maps none to be written to that is larger than its memory, though nobody will read all of it."""
    write_checkpoint(tmp_path / "1", tree(), {})

    def refused(path):
        raise RuntimeError(f"unable to mmap 9 bytes from file <{path}>: Cannot allocate memory (12)")

    monkeypatch.setattr("slmk.checkpoint.load_file", refused)
    with pytest.raises(CheckpointError, match=r"unable to mmap .*overcommit_memory=1"):
        read_checkpoint(tmp_path / "1")


@pytest.mark.skipif(platform.system() != "Linux", reason="other systems count memory in other ways")
def test_what_nobody_looks_at_is_not_read(tmp_path):
    """Of a checkpoint of 64 MiB, of which one number is taken, less than 16 MiB come into memory."""
    big = torch.ones(2**24)
    write_checkpoint(tmp_path / "1", {"memory": big, "algorithm": torch.ones(1)}, {})
    command = [sys.executable, "-c", READING, str(tmp_path / "1")]
    assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) < 16


def test_foreign_and_missing_checkpoints_are_refused(tmp_path):
    """Another format, another program's JSON and an empty folder each get a clear error."""
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read_checkpoint(tmp_path)
    write_checkpoint(tmp_path / "1", tree(), {})
    document = json.loads((tmp_path / "1" / TREE).read_text())
    (tmp_path / "1" / TREE).write_text(json.dumps({**document, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        read_checkpoint(tmp_path / "1")
    (tmp_path / "1" / TREE).write_text('{"weights": []}')
    with pytest.raises(CheckpointError, match="not one of slmk"):
        read_checkpoint(tmp_path / "1")
