"""``slmk doctor``: what this machine offers, what it lacks, and what to do about that."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final, Literal

import click

from slmk import __version__
from slmk.cores import cores
from slmk.findings import Check, Finding
from slmk.manifest import distributions_of
from slmk.registry import get_registry

__all__ = ["doctor"]

_FEW_BYTES: Final = 2 * 2**30
_COLOURS: Final = {"ok": "green", "note": "yellow", "bad": "red"}


@click.command()
def doctor() -> int:
    """Look at Python, torch, compilers, disk space, plugins and what these need, and say what to do.

    Exits with 1 if something is broken.
    """
    checks = dict.fromkeys((*_CHECKS, *get_registry().checks()))  # Several plugins may offer one and the same.
    findings = [finding for check in checks for finding in _isolated(check)]
    for finding in findings:
        state = click.style(f"{finding.state:<4}", fg=_COLOURS[finding.state])
        click.echo(f"{state}  {finding.subject}: {finding.detail}")
        if finding.advice:
            click.echo(f"      → {finding.advice}")
    return 1 if any(finding.state == "bad" for finding in findings) else 0


def _isolated(check: Check) -> list[Finding]:
    """What a check finds; one that fails is a finding itself, and others go on."""
    try:
        return list(check())
    except Exception as error:
        name = f"{check.__module__}.{getattr(check, '__name__', check)}"
        return [Finding("bad", name, f"the check itself failed: {type(error).__name__}: {error}")]


def _python() -> Iterator[Finding]:
    supported = sys.version_info >= (3, 11)
    advice = "" if supported else "install Python 3.11 or later"
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}, slmk {__version__}"
    yield Finding("ok" if supported else "bad", "python", detail, advice)


def _cores() -> Iterator[Finding]:
    yield Finding("ok", "cores", f"{cores()} usable of {os.cpu_count()}")


def _torch() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        yield Finding("bad", "torch", f"cannot be imported: {error}", "pip install torch")
        return
    yield Finding("ok", "torch", f"{torch.__version__}, {torch.get_num_threads()} threads by default")
    yield from _bytecode(torch.__file__)
    yield _matmul()
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, memory = (size / 2**30 for size in torch.cuda.mem_get_info(index))
            detail = f"{torch.cuda.get_device_name(index)}, {free:.0f} of {memory:.0f} GiB free"
            yield Finding("ok", f"cuda:{index}", detail)
    elif torch.version.cuda is None:
        yield Finding("note", "cuda", "this torch is built without CUDA", "for an NVIDIA GPU install a CUDA build")
    else:
        yield Finding("note", "cuda", f"no usable GPU (torch is built for CUDA {torch.version.cuda})", "see nvidia-smi")


def _bytecode(module: str) -> Iterator[Finding]:
    if not Path(cache_from_source(module)).exists():
        advice = "unset PYTHONDONTWRITEBYTECODE, or install with `uv pip install --compile-bytecode`"
        yield Finding("note", "bytecode", "torch is compiled at each start, which takes seconds for every seed", advice)


def _matmul() -> Finding:
    import torch

    from slmk.arithmetic import multiplies_in

    if multiplies_in("bf16", torch.device("cpu")):
        return Finding("ok", "cpu arithmetic", "bf16 products: run.matmul='bf16' speeds wide networks up")
    return Finding("note", "cpu arithmetic", "float32 only: run.matmul='bf16' makes no difference here")


def _compiler() -> Iterator[Finding]:
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found:
        yield Finding("ok", "compiler", f"{found}, so that update steps can be compiled")
    else:
        advice = "install g++ or clang++; until then set run.compile to 'off' or leave it 'auto'"
        yield Finding("note", "compiler", "no C++ compiler, so that update steps run uncompiled on CPU", advice)


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    detail = f"{free / 2**30:.1f} GiB free in the current directory, where runs go"
    if not os.access(Path.cwd(), os.W_OK):
        yield Finding("note", "disk", "the current directory is not writable", "choose another with --out")
    elif free < _FEW_BYTES:
        yield Finding("note", "disk", detail, "remove old runs, or choose another disk with --out")
    else:
        yield Finding("ok", "disk", detail)


def _plugins() -> Iterator[Finding]:
    rows = get_registry().rows()
    yield Finding("ok", "plugins", f"{sum(row.health == 'ok' for row in rows)} components are ready")
    for row in rows:
        subject = f"{row.kind} {row.name} ({row.distribution})"
        if row.health != "ok":
            state: Literal["note", "bad"] = "note" if row.health == "needs" else "bad"
            yield Finding(state, subject, row.summary, row.hint or "")
        elif needed := get_registry().component(row.kind, row.name).requires:
            versions = distributions_of(needed)
            detail = ", ".join(f"{name} {version}" for name, version in versions.items())
            yield Finding("ok", subject, f"on {detail or ', '.join(needed)}")


_CHECKS: Final[tuple[Check, ...]] = (
    _python,
    _cores,
    _torch,
    _compiler,
    _disk,
    _plugins,
)
