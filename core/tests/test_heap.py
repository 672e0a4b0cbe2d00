"""Freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from slmk.heap import freed_memory_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        blocks = [torch.empty(2**22).fill_(1.0) for _ in range(6)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

before = faults()
with freed_memory_kept():
    faults()
    within, kept = faults(), resident()
print(before, within, kept - resident(), faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_the_same_pages_are_used_again():
    """Six blocks of 16 MiB, ten times over: page faults each time, and none while freed memory is kept.

    At the end it is given back. Pages have at most 2 MiB.
    """
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    before, within, given_back, after = map(int, result.stdout.split())
    assert min(before, after) >= 480
    assert within < 10
    assert given_back > 0.9 * 6 * 2**24
