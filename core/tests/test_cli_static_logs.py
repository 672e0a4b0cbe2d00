"""Log events: for people, for machines, and in a file."""

import json
from pathlib import Path

import pytest
import structlog

from slmk.logs import configure


@pytest.fixture(autouse=True)
def _defaults():
    yield
    structlog.reset_defaults()


def test_json_format_gives_one_object_per_line_on_stderr(capsys):
    """Each event is a JSON object with its name, level, time and key-values; stdout stays free."""
    configure("json")
    structlog.get_logger().info("saved", env_steps=10, path="a b")
    out, err = capsys.readouterr()
    event = json.loads(err)
    assert out == ""
    assert {key: event[key] for key in ("event", "level", "env_steps", "path")} == {
        "event": "saved",
        "level": "info",
        "env_steps": 10,
        "path": "a b",
    }
    assert event["timestamp"].endswith("Z")


def test_console_format_is_plain_text_where_there_is_no_terminal(capsys):
    """In a pipe there are no colour codes."""
    configure("console")
    structlog.get_logger().warning("reporter off", name="wandb")
    err = capsys.readouterr().err
    assert "[warning  ] reporter off" in err
    assert "name=wandb" in err
    assert "\x1b" not in err


def test_level_hides_what_is_below(capsys):
    """Only events of at least the level are shown."""
    configure("json", "warning")
    log = structlog.get_logger()
    log.info("hidden")
    log.error("shown")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["shown"]


def test_file_gets_json_whatever_the_console_shows(capsys, tmp_path):
    """The file is appended to, with bound context and the traceback of an exception as text."""
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "before"}\n')
    configure("console", file=path)
    log = structlog.get_logger().bind(seed=3)
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("failed")
    before, after = map(json.loads, path.read_text().splitlines())
    assert before == {"event": "before"}
    assert (after["event"], after["seed"]) == ("failed", 3)
    assert "ValueError: no" in after["exception"]
    assert "Traceback" in capsys.readouterr().err


def test_full_disk_does_not_end_the_run(capsys):
    """A log file that cannot be written is told beside the event, which is still shown."""
    configure("json", file=Path("/dev/full"))
    structlog.get_logger().info("going on")
    event = json.loads(capsys.readouterr().err)
    assert event["event"] == "going on"
    assert event["log_file"] == "not written: No space left on device"
