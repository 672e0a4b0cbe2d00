"""What the throughput suite shares: one torch thread, and a word about busy neighbours."""

import os
from statistics import median
from time import perf_counter

import pytest
import torch

BUSY = 1.25
"""From this slowdown on, something else ran on the same cores."""
slowdowns: list[float] = []


def slowdown() -> float:
    """How much longer a fixed loop takes at the median than at best: near 1 on a quiet machine."""
    seconds = []
    for _ in range(15):
        start = perf_counter()
        sum(range(300_000))  # Longer than the scheduler's slices, so that sharing a core shows in every round.
        seconds.append(perf_counter() - start)
    return median(seconds) / min(seconds)


@pytest.fixture(autouse=True)
def neighbours():
    """Notice what runs beside each benchmark."""
    slowdowns.append(slowdown())


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
    load, cores, worst = os.getloadavg()[0], os.cpu_count() or 1, max(slowdowns, default=1.0)
    if load > cores + 0.5 or worst > BUSY:
        what = f"load {load:.1f} on {cores} cores, a fixed loop up to {worst:.2f} times as slow as at best"
        terminalreporter.write_line(f"busy machine: {what}; ratios may be off")
