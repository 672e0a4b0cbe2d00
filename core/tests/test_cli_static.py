"""The commands that look and do not run: check, plugins, describe, schema, doctor; exit codes and output."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slmk.cli import COMMANDS, cli, main

TOY = Path(__file__).with_name("toy.toml")


def test_check_says_ok_and_exits_with_zero(capsys):
    """A right spec gives one line and code 0."""
    assert main(["check", str(TOY), "-s", "run.seeds=3"]) == 0
    assert capsys.readouterr().out == f"ok {TOY}: toy on Toy-v0, 1,000 env steps, 3 seeds\n"


def test_check_prints_every_problem_to_stderr_and_exits_with_two(capsys, tmp_path):
    """A wrong spec gives a line for each problem on stderr, nothing on stdout, and code 2; nothing is left behind."""
    spec = tmp_path / "wrong.toml"
    spec.write_text(TOY.read_text().replace('"toy_plugin.py"', f'"{TOY.with_name("toy_plugin.py")}"') + "\n[rum]\n")
    assert main(["check", str(spec), "-s", "run.seeds=0"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "run.seeds: wrong value (expected an integer above 0, found the integer 0)",
        f"{spec}:44: rum: unknown section; did you mean 'run'?",
        "2 problems",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.toml"]


def test_check_of_several_specs_goes_on_after_a_wrong_one(capsys, tmp_path):
    """Each spec is checked, and the code tells of the worst."""
    assert main(["check", str(tmp_path / "no.toml"), str(TOY)]) == 2
    out, err = capsys.readouterr()
    assert out.startswith(f"ok {TOY}")
    assert "no.toml: cannot be read" in err


def test_broken_plugin_exits_with_three(capsys):
    """A spec that asks for a broken plugin gives code 3 and the reason."""
    assert main(["check", str(TOY), "-s", "algorithm.name=toy_old"]) == 3
    assert "error: algorithm.name: the plugin" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["chek"], "no command is called 'chek'; did you mean 'check'?"),
        (["check"], "Missing argument 'SPEC...'"),
        (["check", "--buld"], "No such option"),
        (["describe", "alg"], "no kind is called 'alg'; did you mean 'algo'?"),
        (["describe", "algo", "no-such"], "no algorithm is called 'no-such'"),
        (["--log-format", "xml", "plugins"], "'xml' is not one of"),
    ],
)
def test_wrong_usage_exits_with_two_and_a_hint(capsys, arguments, told):
    """Unknown commands, options, kinds and names are told with the nearest right one."""
    assert main(arguments) == 2
    assert told in capsys.readouterr().err


def test_a_command_of_a_plugin_that_is_not_installed_is_known(capsys, monkeypatch):
    """The message names the distribution to install."""
    monkeypatch.setattr("slmk.cli.lazy._offered", dict)
    assert main(["export", "runs"]) == 2
    assert "the command 'export' is not installed; pip install slmk-exporter-onnx" in capsys.readouterr().err


def test_plugins_lists_kind_name_distribution_and_version(capsys):
    """The table has a header and a line for each component, the healthy ones marked ok."""
    assert main(["plugins"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["kind", "name", "distribution", "version", "health", "summary"]
    assert ["env", "gymnasium", "slmk-env-gymnasium", "0.1.0", "ok"] in [line.split()[:5] for line in lines]


def test_describe_shows_type_default_and_documentation(capsys):
    """Each option has its type in words, its default and the text under its field."""
    assert main(["describe", "run"]) == 0
    text = capsys.readouterr().out
    assert "env_steps: an integer above 0; required\n    Budget: transitions summed over environments." in text
    assert "compile: 'auto' or 'on' or 'off'; default 'auto'" in text


def test_describe_indents_all_lines_of_an_option(capsys):
    """Also where its documentation has several lines of its own, which are filled anew."""
    assert main(["describe", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    option = lines.index(next(line for line in lines if line.startswith("matmul:")))
    words = lines[option + 1 : lines.index("", option)]
    assert len(words) > 1
    assert all(line.startswith("    ") and len(line) <= 100 for line in words)
    assert all(len(line) > 80 for line in words[:-1])


def test_describe_takes_the_name_of_the_kind_or_of_the_section(capsys):
    """`algo ppo` and `algorithm ppo` are the same; what the algorithm needs is said first."""
    assert main(["describe", "algo", "ppo"]) == 0
    first = capsys.readouterr().out
    assert main(["describe", "algorithm", "ppo"]) == 0
    assert capsys.readouterr().out == first
    assert "needs a memory that offers: take" in first
    rates = "a number at least 0 or a table of start, end, until or a table of start, kl, least, most"
    assert f"lr: {rates}; default 0.0003" in first


def test_describe_lists_kinds_and_components(capsys):
    """Without a name the components of a kind are listed, and without a kind the kinds."""
    assert main(["describe"]) == 0
    assert "normalizer  [normalizer.<role>]" in capsys.readouterr().out
    assert main(["describe", "algo"]) == 0
    assert "ppo" in capsys.readouterr().out


def test_schema_holds_every_component_and_its_documentation(capsys):
    """The schema of a spec has a branch for each component, told apart by `name`, and resolves its references."""
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    ppo = next(b for b in schema["properties"]["algorithm"]["anyOf"] if b["properties"]["name"]["const"] == "ppo")
    assert ppo["additionalProperties"] is False
    assert ppo["properties"]["gamma"]["description"] == "Discount per step."
    assert schema["properties"]["run"]["properties"]["seeds"]["exclusiveMinimum"] == 0
    text = json.dumps(schema)
    references = {part.split('"')[0] for part in text.split('"$ref": "#/$defs/')[1:]}
    assert references
    assert references <= set(schema["$defs"])


def test_doctor_looks_at_torch_plugins_and_disk(capsys):
    """The doctor names what it looked at and finds this machine fit to run."""
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {subject}: " in out for subject in ("python", "torch", "compiler", "gymnasium", "disk", "plugins"))


def test_doctor_says_everything_once(capsys):
    """A simulator, there or not, is a matter of its plugin; a check that several plugins offer is made once."""
    assert main(["doctor"]) == 0
    findings = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    for word in ("isaaclab", "playground", "rendering: "):
        assert sum(word in line for line in findings) == 1, word


def test_doctor_sees_what_is_compiled_at_each_start(tmp_path, capsys, monkeypatch):
    """Where Python finds no bytecode of torch, imports take seconds: the remedy is named."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path))
    main(["doctor"])
    assert "bytecode: torch is compiled at each start" in capsys.readouterr().out


def test_every_command_of_the_table_exists():
    """The table that `--help` reads leads to real commands of those names."""
    for name in COMMANDS:
        command = cli.get_command(None, name)
        assert command is not None
        assert command.name == name


def test_environment_variables_stand_for_flags(monkeypatch, capsys):
    """`SLMK_LOG_FORMAT` is `--log-format`, and `SLMK_CHECK_OVERRIDES` is `check -s`."""
    monkeypatch.setenv("SLMK_CHECK_OVERRIDES", "run.seeds=7")
    assert main(["check", str(TOY)]) == 0
    assert "7 seeds" in capsys.readouterr().out
    monkeypatch.setenv("SLMK_LOG_FORMAT", "xml")
    assert main(["plugins"]) == 2


def test_reader_that_stops_early_gives_no_traceback():
    """`slmk schema | head -1` ends in peace."""
    command = f"{sys.executable} -m slmk schema | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "{\n"
    assert done.stderr == ""
