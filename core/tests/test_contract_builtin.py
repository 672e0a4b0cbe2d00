"""What the kernel itself offers keeps every promise of its kind, and so do the toys."""

from typing import ClassVar

from slmk.testing import (
    EnvContract,
    LauncherContract,
    MemoryContract,
    NetworkContract,
    NormalizerContract,
    ReporterContract,
)

WHY = "the toys are part of the suite, which has torch anyway"
TOY = {"import_is_light": WHY, "no_side_effects": WHY}


class TestRunning(NormalizerContract):
    """The normalizer ``running``."""

    component = "running"


class TestJsonl(ReporterContract):
    """The reporter ``jsonl``."""

    component = "jsonl"


class TestConsole(ReporterContract):
    """The reporter ``console``."""

    component = "console"


class TestLocal(LauncherContract):
    """The launcher ``local``."""

    component = "local"


class TestToyNetwork(NetworkContract):
    """The network beside which algorithms are checked."""

    component = "toy-mlp"
    skip: ClassVar = TOY


class TestToyRollout(MemoryContract):
    """The memory beside which on-policy algorithms are checked."""

    component = "toy-take"
    skip: ClassVar = TOY


class TestToyReplay(MemoryContract):
    """The memory beside which off-policy algorithms are checked."""

    component = "toy-sample"
    skip: ClassVar = TOY


class TestProbe(EnvContract):
    """The environment on which algorithms are checked, in its widest form."""

    component = "toy-probe"
    options: ClassVar = {"action": "multi-discrete", "groups": "two"}
    skip: ClassVar = TOY
