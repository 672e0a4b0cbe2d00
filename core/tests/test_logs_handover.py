"""Log events of a session's process, which the process that owns the terminal shows."""

import pickle
from pathlib import Path

import pytest
import structlog

from slmk.logs import hand_over_logs, log_again


@pytest.fixture(autouse=True)
def _structlog_as_it_was():
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_an_event_is_logged_over_there_and_not_here(capsys):
    """It travels with its level, its seed and values that any process can unpickle; nothing is printed here."""
    sent = []
    hand_over_logs(lambda *event: sent.append(pickle.loads(pickle.dumps(event))), seed=3)
    structlog.get_logger("worker").warning("reporter switched off", path=Path("a"), steps=7, reason=None)
    assert sent == [("warning", {"seed": 3, "event": "reporter switched off", "path": "a", "steps": 7, "reason": None})]
    assert capsys.readouterr() == ("", "")
    with structlog.testing.capture_logs() as shown:
        log_again(*sent[0])
    assert shown == [{"log_level": "warning", **sent[0][1]}]


def test_an_exception_travels_as_text():
    """A traceback object cannot be pickled; its text can."""
    sent = []
    hand_over_logs(lambda *event: sent.append(event))
    try:
        raise ValueError("too bad")
    except ValueError:
        structlog.get_logger().exception("failed")
    assert sent[0][0] == "error"
    assert sent[0][1]["exception"].endswith("ValueError: too bad")
