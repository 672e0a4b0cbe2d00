"""The surfaces of `slmk.testing`: `check`, the contract classes under pytest, and the fixtures."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from slmk.cli import main
from slmk.discovery import from_file
from slmk.errors import SpecError
from slmk.registry import Registry
from slmk.testing import Outcome, Report, check, checks_of
from slmk.testing.compare import first_difference
from slmk.testing.env_checks import ENV_CHECKS

pytest_plugins = ("pytester",)

CONTRACTS = """
from slmk.registry import Registry
from slmk.testing import {base}
from slmk.testing import toy_envs

class TestIt({base}):
    component = {component!r}
    options = {options!r}
    skip = {skip!r}
    registry = Registry.from_modules([toy_envs])
"""


def test_check_reports_on_every_promise():
    """`check` runs the common checks and those of the kind, and is fine about the built-in normalizer."""
    told: list[Outcome] = []
    report = check("normalizer", "running", each=told.append)
    assert told == report.outcomes
    assert report.ok, str(report)
    assert [outcome.check for outcome in report.outcomes] == list(checks_of("normalizer"))
    assert report.of("skipped") == ["public_names_only"]


def test_a_report_is_a_table_with_reasons():
    """Printing gives a headline with counts and a line for each check, reasons aligned."""
    outcomes = [
        Outcome("shapes", "ok"),
        Outcome("exact_resume", "failed", "one\ntwo"),
        Outcome("mask", "skipped", "none"),
    ]
    report = Report("algo", "mine", outcomes)
    assert not report.ok
    assert str(report) == (
        "algo mine: 1 ok, 1 failed, 1 skipped\n"
        "  ok      shapes\n"
        "  failed  exact_resume  one\n"
        "                        two\n"
        "  skipped mask          none"
    )


def test_where_nothing_was_checked_nothing_is_fine(monkeypatch, capsys):
    """A component whose required modules are missing is skipped check by check, which is no success."""
    registry = Registry([from_file(Path(__file__).with_name("toy_plugin.py"))])
    report = check("env", "toy_lacking", registry)
    assert set(report.of("skipped")) == set(checks_of("env"))
    assert not report.ok
    monkeypatch.setattr("slmk.cli.author.get_registry", lambda: registry)
    monkeypatch.setattr("slmk.testing.subject.get_registry", lambda: registry)
    assert main(["check-plugin", "env", "toy_lacking", "-s", "id=a"]) == 3
    assert "it needs no_such_module: pip install 'toy[all]'" in capsys.readouterr().out


def test_unknown_names_are_told():
    """A misspelt name is a SpecError with a suggestion, a misspelt kind a ValueError with all kinds."""
    with pytest.raises(SpecError, match="did you mean 'running'"):
        check("normalizer", "runing")
    with pytest.raises(ValueError, match="no kind is called 'algorithm'; expected one of env, algo"):
        check("algorithm", "ppo")


def test_required_options_that_are_missing_fail_with_their_names():
    """A check that cannot build the component says which option to give."""
    report = check("env", "gymnasium")
    assert "give the check other options; these are wrong: id: Field required" in report.outcomes[-1].reason
    assert not report.ok


def test_every_environment_check_is_a_promise_of_the_suite():
    """No check of `env_checks` is left out, and names are without the kind."""
    names = [each.__name__.removeprefix("check_env_") for each in ENV_CHECKS]
    assert list(checks_of("env", common=False)) == names


def test_a_contract_class_is_one_test_for_each_promise(pytester):
    """Three lines make every check of the kind an item; skips carry their reasons."""
    skip = {"import_is_light": "toys need not be"}
    words = {"base": "EnvContract", "component": "toy-bandit", "options": {}, "skip": skip}
    pytester.makepyfile(CONTRACTS.format(**words))
    result = pytester.runpytest("-rs", "-k", "not side_effects")
    result.assert_outcomes(passed=len(checks_of("env")) - 4, skipped=3, deselected=1)
    result.stdout.fnmatch_lines_random(["*toys need not be*", "*it has no figures of its own*"])


def test_a_contract_class_with_wrong_options_fails(pytester):
    """What `check` reports as failed is a failed test, with the reason."""
    words = {"base": "EnvContract", "component": "toy-bandit", "options": {"speed": 3}, "skip": {}}
    pytester.makepyfile(CONTRACTS.format(**words))
    result = pytester.runpytest("-k", "final_obs")
    result.assert_outcomes(failed=1, deselected=len(checks_of("env")) - 1)
    result.stdout.fnmatch_lines(["*speed: Extra inputs are not permitted*"])


def test_the_pytest_plugin_is_cheap_to_import():
    """Every pytest run of everybody who has slmk imports it: no torch, no numpy, no pydantic."""
    heavy = {"torch", "numpy", "pydantic", "click"}
    code = f"import sys; import slmk.testing.pytest_plugin; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_registry_fixture_has_the_installed_plugins_and_the_toys(slmk_registry):
    """Tests of plugins find what is installed and the toys by one registry."""
    assert "running" in slmk_registry.names("normalizer")
    assert {"toy-bandit", "toy-probe"} <= set(slmk_registry.names("env"))


def test_run_spec_trains_below_the_test_folder(run_spec, tmp_path):
    """The fixture runs a spec to its end, and its files lie in `tmp_path`."""
    from slmk.testing.toy_runs import toy_spec

    result = run_spec(toy_spec(), ["run.env_steps=32"])
    assert result.directory.is_relative_to(tmp_path)
    assert result.summary["sessions"][0]["env_steps"] == 32


def test_throughput_is_the_ratio_of_speeds(throughput, record_property):
    """Twice the time per call is half the throughput, whichever of the two is named first."""
    one, two = (lambda: time.sleep(0.02)), (lambda: time.sleep(0.04))
    assert throughput(one, two, rounds=7) == pytest.approx(2, rel=0.3)
    assert throughput(two, one, rounds=7, at_least=0.1) == pytest.approx(0.5, rel=0.3)
    with pytest.raises(AssertionError, match=r"0\.\d\d times as fast, where at least 1\.5 is asked for"):
        throughput(two, one, rounds=7, at_least=1.5)


def test_first_difference_names_the_place():
    """Trees are compared bit for bit, NaN equals NaN, and the path of the first difference is told."""
    import torch

    tree = {"a": [torch.tensor([1.0, float("nan")]), 2], "b": {"c": "x"}}
    same = {"a": [torch.tensor([1.0, float("nan")]), 2], "b": {"c": "x"}}
    assert first_difference(tree, same) is None
    same["a"][0] = torch.tensor([1.0, 0.0])
    assert first_difference(tree, same) == "a[0]"
    assert first_difference(tree, {**tree, "b": {"c": "y"}}) == "b.c"
    assert first_difference(torch.zeros(1), torch.zeros(1, dtype=torch.float64)) == "the value"
    infinite = torch.tensor([float("nan"), float("inf")])
    assert first_difference(infinite, infinite.clone()) is None
    assert first_difference(infinite, infinite.nan_to_num(nan=float("nan"))) == "the value"
