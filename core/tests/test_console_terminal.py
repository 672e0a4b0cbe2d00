"""The reporter ``console`` on a real terminal: what is left on the screen, and what it writes to get there."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys

import pytest

# Systems without pseudo-terminals have none of these.
pty, termios, fcntl = (pytest.importorskip(name) for name in ("pty", "termios", "fcntl"))

MANIFEST = {
    "name": "toy",
    "algorithm": "ppo",
    "env": {"name": "gymnasium", "id": "CartPole-v1"},
    "seeds": [0, 1],
    "env_steps": 10_000,
    "target": None,
}
SUMMARY = {
    "env_steps": 10_000,
    "scores": {"final_return_ma": {"mean": 480.0, "std": 5.25, "iqm": 481.5, "ci95": [476.0, 485.5]}},
    "sessions": [{}, {}],
    "target": {"metric": "final_return_ma", "score": 475.0, "source": "Gymnasium", "value": 480.0, "reached": True},
}


def train_row(env_steps, mean, seed=0):
    return {"kind": "train", "seed": seed, "env_steps": env_steps, "episode/return_ma": mean}


SCRIPT = """
import sys, json
from pathlib import Path
import structlog
from slmk.builtin import ConsoleConfig
from slmk.builtin.console import Console
from slmk.logs import configure
configure()
directory, manifest, rows, ending = Path(sys.argv[1]), *map(json.loads, sys.argv[2:5])
console = Console(ConsoleConfig(), directory)
try:
    console.start(manifest)
    for row in rows:
        if row["kind"] == "log":
            structlog.get_logger("test").warning(row["event"])
        elif row["kind"] == "fail":
            raise SystemExit("it broke")
        else:
            console.report(row)
        console._live.refresh()
    console.finish(ending)
    console.show_files([])
finally:
    console.close()
"""


def on_a_terminal(directory, rows, *, width=60, stderr=None, **environment):
    """What the script writes to a terminal of 24 lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    arguments = [str(directory), *(json.dumps(part) for part in (MANIFEST, rows, SUMMARY))]
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=stderr or theirs,
        env={**plain, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment},
    )
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # How Linux says that the other end is closed.
        pass
    process.wait()
    os.close(ours)
    return written.decode()


def screen_lines(written, width):
    """The lines that are left on a terminal which understands what rich uses: CR, LF, erase line, up, colours."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|.|\n", written.replace("\r\n", "\n\r"), re.DOTALL):
        if token.startswith("\x1b"):
            number_given = int(re.sub(r"\D", "", token) or 1)
            row -= number_given if token.endswith("A") else 0
            lines[row] = "" if token == "\x1b[2K" else lines[row]
        elif token in "\r\n":
            row, column = row + (token == "\n"), 0 if token == "\r" else column
            lines += [""] * (row + 1 - len(lines))
        else:
            if column == width:
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


def text_index(lines, text):
    return next(index for index, line in enumerate(lines) if text in line)


def test_the_panel_is_whole_after_log_lines_and_redraws(tmp_path):
    """In the end the log stands above one panel with one line per seed; the scores and the files follow."""
    rows = [
        train_row(500, 21.5),
        {"kind": "log", "event": "a worker died " + 40 * "x"},
        train_row(2000, 7.0, seed=1),
        {"kind": "log", "event": "again"},
        *(train_row(10_000, 480.0, seed=seed) for seed in (0, 1)),
    ]
    lines = screen_lines(on_a_terminal(tmp_path, rows), 60)
    assert sum(line.startswith("seed") for line in lines) == 1
    bars = [line for line in lines if re.match(r" +[01]  ━", line)]
    assert [bar.split()[0] for bar in bars] == ["0", "1"]
    assert all("100 %" in bar and bar.endswith("done") for bar in bars)
    assert "x" * 40 in "".join(lines)
    order = [
        text_index(lines, text) for text in ("again", "seed  ", "  1  ━", "final_return_ma  ", "✓ target", "run  ")
    ]
    assert order == sorted(order)
    assert max(map(len, lines)) <= 60


def test_an_error_leaves_the_terminal_in_order(tmp_path):
    """When the run breaks, the panel stays as it was with its sessions stopped, and the cursor is shown again."""
    written = on_a_terminal(tmp_path, [train_row(500, 21.5), {"kind": "fail"}])
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l")
    lines = screen_lines(written, 60)
    assert sum("stopped" in line for line in lines) == 2
    assert lines[text_index(lines, "it broke")] == "it broke"
    assert not any(line.startswith("run  ") for line in lines)


def test_no_color(tmp_path):
    """With NO_COLOR the panel is drawn without colours."""
    rows = [train_row(500, 21.5)]
    colour = re.compile(r"\x1b\[[\d;]*(3[0-7]|38;5)[\d;]*m")
    assert colour.search(on_a_terminal(tmp_path, rows))
    assert not colour.search(on_a_terminal(tmp_path, rows, NO_COLOR="1"))


def test_log_lines_for_a_file_stay_out_of_the_panel(tmp_path):
    """Where stderr goes to a file, the terminal shows none of it."""
    with (tmp_path / "log").open("wb") as file:
        written = on_a_terminal(tmp_path, [train_row(500, 21.5), {"kind": "log", "event": "hush"}], stderr=file)
    assert "hush" in (tmp_path / "log").read_text()
    assert "hush" not in written


def test_a_dumb_terminal_gets_lines(tmp_path):
    """A terminal that cannot move its cursor is treated like a pipe."""
    written = on_a_terminal(tmp_path, [], TERM="dumb")
    assert "\x1b[" not in written
    assert "final_return_ma" in written
