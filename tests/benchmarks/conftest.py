"""What the throughput suite shares: one torch thread, and a word about busy neighbours."""

import os

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are fastest on one thread, and spinning pools are fragile beside a busy process."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter):
    """Print the measured ratios, and say so where something else ran beside them."""
    reports = [r for group in terminalreporter.stats.values() for r in group if hasattr(r, "user_properties")]
    for report in reports:
        for name, value in report.user_properties:
            if report.when == "call" and isinstance(value, float):
                terminalreporter.write_line(f"{value:6.2f} x  {report.nodeid.split('::')[-1]} ({name})")
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores + 0.5:
        terminalreporter.write_line(f"busy machine: load {load:.1f} on {cores} cores; ratios may be off")
