"""The checks that are the same for every kind: a plugin as a package, right and with one defect at a time."""

import textwrap
from importlib import invalidate_caches

import pytest

from slmk.registry import Registry
from slmk.testing import Subject, check_subject
from slmk.testing.common_checks import COMMON_CHECKS

PROMISES = [check.__name__.removeprefix("check_") for check in COMMON_CHECKS]
PLUGIN = '''
    """A plugin."""
    {imports}
    from slmk import Component, NormalizerConfig, hookimpl

    class Config(NormalizerConfig):
        """Options."""
        {config}

    @hookimpl
    def slmk_normalizers():
        """One."""
        return [Component({name!r}, Config, "{package}.work:Work", {summary!r})]
'''
WORK = '''
    """The work."""
    import os
    import sys
    import torch
    from slmk import Metrics
    from slmk.builtin.running import Running
    {work}

    class Work(Running):
        """As the built-in one."""
        def __init__(self, config, shape):
            from slmk.builtin import RunningConfig
            super().__init__(RunningConfig(), shape)
            {build}
'''
DOCUMENTED = "\n        '''How large.'''"
RIGHT = {
    "imports": "", "name": "theirs", "summary": "one line", "work": "", "build": "pass",
    "config": "size: int = 1" + DOCUMENTED,
}  # fmt: skip
BROKEN = {
    "heavy": ({"imports": "import numpy"}, "import_is_light", "imports numpy; only its target may"),
    "slow": ({"imports": "sum(range(8_000_000))"}, "import_is_light", "ms of CPU, expected 50"),
    "environ": ({"imports": "import os; os.environ['THEIRS'] = '1'"}, "no_side_effects", "variable THEIRS"),
    "dtype": ({"work": "torch.set_default_dtype(torch.float64)"}, "no_side_effects", "torch's default dtype"),
    "threads": ({"build": "torch.set_num_threads(3)"}, "no_side_effects", "torch's number of threads"),
    "stdout": ({"build": "os.dup2(os.pipe()[1], 1)"}, "no_side_effects", "file descriptor 1"),
    "random": ({"build": "torch.manual_seed(3)"}, "no_side_effects", "torch's global random state"),
    "seldom": ({"work": "os.environ.pop('PATH')"}, "no_side_effects", "variable PATH"),
    "undocumented": ({"config": "size: int = 1"}, "config_documented", "does not document size"),
    "lenient": ({"config": "model_config = {'extra': 'ignore'}"}, "config_strict", "accepts unknown keys"),
    "mutable": ({"config": "model_config = {'frozen': False}"}, "config_strict", "is not frozen"),
    "unwritable": (
        {"config": "size: frozenset[int] = frozenset({1})" + DOCUMENTED}, "config_round_trip", "not accepted",
    ),
    "private": ({"work": "from slmk.session import Session"}, "public_names_only", "work.py:8: slmk.session.Session"),
    "named": ({"name": "Their Plugin"}, "component", "should be lower case"),
    "silent": ({"summary": ""}, "component", "the summary is empty"),
    "lost": ({"work": "import no_such_module"}, "component", "No module named 'no_such_module'"),
}  # fmt: skip


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Writes the plugin with changes, and finds its component."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(case, **changes):
        package = f"contract_common_{case}"
        words = {**RIGHT, **changes, "package": package}
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(
            textwrap.dedent(PLUGIN).format(**words).replace("        ", "    ")
        )
        (tmp_path / package / "work.py").write_text(textwrap.dedent(WORK).format(**words))
        invalidate_caches()
        registry = Registry.from_modules([__import__(package)])
        return Subject.find("normalizer", words["name"], registry)

    return write


def test_a_right_plugin_keeps_every_common_promise(make):
    """Nothing is found in a plugin that has no defect, but that it builds on a part of the kernel's inside."""
    report = check_subject(make("right"), PROMISES)
    assert report.of("failed") == ["public_names_only"], str(report)
    assert "work.py:7: slmk.builtin.running.Running" in str(report)


@pytest.mark.parametrize("name", BROKEN)
def test_each_defect_fails_its_check(make, monkeypatch, name):
    """The check that is about the defect fails, and says what is wrong."""
    changes, promise, reason = BROKEN[name]
    monkeypatch.delenv("THEIRS", raising=False)
    outcome = check_subject(make(name, **changes), [promise]).outcomes[0]
    assert outcome.status == "failed"
    assert reason in outcome.reason


def test_what_is_not_installed_skips_every_check(make):
    """A component that needs a module which is not there is skipped with the command that installs it."""
    from dataclasses import replace

    subject = make("needs")
    needs = replace(subject.component, requires=("no_such_module",))
    report = check_subject(replace(subject, component=needs))
    assert report.of("skipped") == [outcome.check for outcome in report.outcomes]
    assert report.outcomes[0].reason == "it needs no_such_module: pip install no_such_module"
