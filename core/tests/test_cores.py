"""How many cores a process computes on."""

import pytest

from slmk.cores import cores, share_cores


@pytest.mark.parametrize(("processes", "expected"), [(1, 8), (2, 4), (3, 2), (9, 1)])
def test_processes_side_by_side_share_the_cores(processes, expected, monkeypatch):
    """Eight cores are four for each of two; there is always one."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    share_cores(processes)
    try:
        assert cores() == expected
    finally:
        share_cores(1)


def test_where_affinity_is_unknown_all_cores_count(monkeypatch):
    """As on macOS."""
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert cores() == 6
