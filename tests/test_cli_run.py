"""The commands that train and score, as a person runs them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomli
import tomli_w

from slmk import trial
from slmk.cli import main
from slmk.spec import load
from slmk.testing.toy_runs import toy_spec

SPECS = Path(__file__).parent.parent / "specs"
SPEC = SPECS / "classic" / "ppo_cartpole.toml"
SMALL = ("run.env_steps=2048", "run.compile='off'", "run.eval_episodes=2", "algorithm.epochs=1")


def slmk(*words, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "slmk", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="module")
def run(once) -> Path:
    """A small run of two seeds, made through the command line."""

    def train(out: Path) -> None:
        sets = [word for change in SMALL for word in ("-s", change)]
        done = slmk("run", SPEC, *sets, "--seeds", 2, "--out", out)
        assert done.returncode == 0, done.stderr

    (directory,) = once("cli_run", train).glob("*/*")
    return directory


def test_a_run_leaves_everything_in_its_directory(run):
    """Spec, resolved spec, manifest, summary, report, and metrics and checkpoints of each seed are there."""
    assert (run / "spec.toml").read_text() == SPEC.read_text()
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["seeds"] == [0, 1]
    assert manifest["random_return"] == pytest.approx(20.2, abs=5)
    summary = json.loads((run / "summary.json").read_text())
    assert len(summary["scores"]["final_return_ma"]["values"]) == 2
    assert summary["target"]["reached"] is False
    assert "<html" in (run / "report.html").read_text()
    for seed in ("seed-0", "seed-1"):
        rows = [json.loads(line) for line in (run / seed / "metrics.jsonl").read_text().splitlines()]
        assert {row["kind"] for row in rows} == {"train", "eval"}
        assert rows[-1]["env_steps"] == 2048
        assert list((run / seed / "checkpoints").glob("[0-9]*/state.safetensors"))


def test_resolved_spec_says_where_values_come_from(run):
    """Overrides, the file's lines and defaults are told apart in resolved.toml."""
    text = (run / "resolved.toml").read_text()
    lines = {line.split(" = ")[0]: line for line in text.splitlines() if " = " in line}
    assert lines["env_steps"].endswith("# -s")
    assert "ppo_cartpole.toml:" in lines["id"]
    assert lines["max_grad_norm"].endswith("# default")


def test_eval_scores_a_run_and_films_it(run, tmp_path):
    """`slmk eval` prints the mean return; `--video` writes a film with a frame for every step."""
    done = slmk("eval", run, "--episodes", 3)
    assert done.returncode == 0, done.stderr
    assert "over 3 episodes" in done.stdout
    film = tmp_path / "film.mp4"
    done = slmk("eval", run / "seed-1", "--episodes", 1, "--video", film)
    assert done.returncode == 0, done.stderr
    import imageio.v2 as imageio

    frames = imageio.mimread(film, memtest=False)
    steps = float(done.stdout.split("of ")[1].split(" steps")[0])
    assert len(frames) == pytest.approx(steps, abs=1)
    assert frames[0].shape == (400, 600, 3)
    assert frames[0].std() > 1
    done = slmk("eval", run / "seed-1", "--episodes", 1, "--video", tmp_path / "film")
    assert done.returncode == 1
    assert done.stderr.endswith("film: its name has to end in .mp4 or .gif\n")


def test_eval_computes_where_it_is_told(run, capsys):
    """A policy that was trained on another machine's device is scored on this one's."""
    assert main(["eval", str(run), "--episodes", "1", "--device", "cuda:77"]) == 2
    assert "run.device: not a device that can be used here" in capsys.readouterr().err
    assert main(["eval", str(run), "--episodes", "1", "--device", "cpu"]) == 0


def test_a_policy_is_scored_where_it_fits_alone(run, capsys):
    """Another environment of the same spaces is welcome; of others, both are named."""
    assert main(["eval", str(run), "--episodes", "1", "-s", "env.id='CartPole-v0'"]) == 0
    assert main(["eval", str(run), "--episodes", "1", "-s", "env.id='Acrobot-v1'"]) == 2
    words = capsys.readouterr().err
    assert "env: the policy was trained with other observations (expected {'obs': (4,)}, found {'obs': (6,)})" in words
    assert "env: the policy was trained with other actions (expected Discrete(2), found Discrete(3))" in words


def test_a_policy_is_scored_on_another_backend_whatever_its_training_needed(run, tmp_path, capsys):
    """The rollout of one environment, which is the default there, would not split into the minibatches of training."""
    trained = tmp_path / "run"
    shutil.copytree(run, trained)
    spec = tomli.loads((trained / "resolved.toml").read_text())
    spec["env"]["num_envs"], spec["algorithm"]["horizon"], spec["algorithm"]["minibatches"] = 8, 4, 8
    (trained / "resolved.toml").write_text(tomli_w.dumps(spec))
    elsewhere = ("-s", "env.name=envpool", "-s", "env.id=CartPole-v1")
    assert main(["eval", str(trained), "--episodes", "1", *elsewhere]) == 0, capsys.readouterr().err


def test_what_would_change_nothing_of_an_evaluation_is_refused(run, capsys):
    """All such settings at once, with what can be set."""
    idle = ("algorithm.gamma=0.5", "network.actor.hidden=[8]", "run.eval_episodes=3", "env.num_envs=2", "run={}")
    sets = [word for change in (*idle, "run.seed=7") for word in ("-s", change)]
    assert main(["eval", str(run), "--episodes", "1", *sets]) == 2
    lines = capsys.readouterr().err.splitlines()
    told = {line.split(": has no effect on an evaluation; of a spec it uses env but for ")[0] for line in lines[:-1]}
    assert told == {change.split("=")[0] for change in idle}
    assert lines[-1] == "5 problems"
    assert main(["eval", str(run), "--episodes", "1", "-s", "env.reward_scale=0.1"]) == 2  # Scores are without it.
    assert "env.reward_scale: has no effect on an evaluation" in capsys.readouterr().err


def test_a_policy_is_scored_without_reporters_and_launcher(run, tmp_path, capsys):
    """Those of the machine where it was trained need not be installed."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    text = (copy / "resolved.toml").read_text()
    for name in ("local", "report"):
        assert f'name = "{name}"' in text
        text = text.replace(f'name = "{name}"', 'name = "not_here"')
    (copy / "resolved.toml").write_text(text)
    assert main(["eval", str(copy), "--episodes", "1"]) == 0
    assert "over 1 episodes" in capsys.readouterr().out


def test_list_shows_the_run(run):
    """`slmk list` shows environment, algorithm, seeds and that it is done."""
    done = slmk("list", "--out", run.parent.parent, env={"COLUMNS": "200", "PATH": ""})
    assert done.returncode == 0, done.stderr
    assert "CartPole-v1" in done.stdout
    assert "done" in done.stdout


def test_report_compares_runs(run, tmp_path):
    """`slmk report A B` writes one page that holds both."""
    page = tmp_path / "both.html"
    done = slmk("report", run, run, "--output", page)
    assert done.returncode == 0, done.stderr
    assert page.stat().st_size > 1000


def test_a_policy_needs_neither_environment_nor_simulator(run):
    """Policy.load works in a process in which Gymnasium's backend cannot be imported."""
    code = (
        "import sys; sys.modules['slmk_env_gymnasium'] = None\n"
        "import numpy as np; from slmk import Policy\n"
        f"print(Policy.load({str(run)!r})(np.zeros((3, 4), np.float32)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "(3,)", done.stderr


def test_wrong_specs_exit_2_and_leave_nothing(tmp_path):
    """A misspelt key, found before anything runs, and an unknown environment, found when it is built: exit code 2."""
    for change, hint in (("algorithm.gama=0.9", "gamma"), ("env.id='CartPol-v1'", "CartPole-v1")):
        done = slmk("run", SPEC, "-s", change, "--seeds", 1, "--out", tmp_path / "out")
        assert done.returncode == 2, done.stderr
        assert hint in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()


def test_a_wrong_environment_of_several_seeds_leaves_nothing(tmp_path):
    """The same from worker processes; as its directory was announced before, the output says that it is gone."""
    done = slmk("run", SPEC, "-s", "env.id='CartPol-v1'", "--seeds", 2, "--out", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert "CartPole-v1" in done.stderr
    assert "removed again" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_dev_mode_is_small_and_checked(tmp_path):
    """`--dev` runs one seed of 10 000 steps with checks on."""
    done = slmk("run", SPEC, "--dev", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (directory,) = tmp_path.glob("*/*")
    resolved = (directory / "resolved.toml").read_text()
    assert "debug = true" in resolved
    assert json.loads((directory / "summary.json").read_text())["env_steps"] >= 10_000


def test_dev_mode_shortens_the_warm_up(tmp_path):
    """Gradient steps are taken, though the spec has as many random steps as `--dev` has in all."""
    done = slmk("run", SPEC.parent / "dqn_cartpole.toml", "--dev", "-s", "run.env_steps=1500", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (metrics,) = tmp_path.glob("*/*/seed-0/metrics.jsonl")
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert max(row.get("updates", 0) for row in rows) > 0


@pytest.mark.parametrize(("asked", "episodes"), [(0, 0), (7, 2)])
def test_dev_mode_adds_no_evaluations(asked, episodes, tmp_path, monkeypatch):
    """They are few, and none where the spec has none: Isaac Lab, for one, leaves no room for them."""
    spec, path, loaded = toy_spec(), tmp_path / "toy.toml", []
    spec["run"]["eval_episodes"] = asked
    path.write_bytes(tomli_w.dumps(spec).encode())
    monkeypatch.setattr("slmk.trial.run", lambda spec, changes, **how: loaded.append(load(spec, changes).run))
    monkeypatch.setattr("slmk.cli.train._exit_if_interrupted", lambda result: None)
    assert main(["run", str(path), "--dev"]) == 0
    assert (loaded[0].env_steps, loaded[0].eval_episodes) == (10_000, episodes)


def test_profile_is_written(tmp_path):
    """`--profile` leaves a readable profile beside the metrics."""
    sets = [word for change in SMALL for word in ("-s", change)]
    done = slmk("run", SPEC, *sets, "--seeds", 1, "--profile", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    (profile,) = tmp_path.glob("*/*/seed-0/profile.txt")
    assert "function calls" in profile.read_text()


def test_a_done_run_has_nothing_left_to_resume(run):
    """It says so, with the scores again."""
    done = slmk("resume", run)
    assert done.returncode == 0
    assert "every session is done already" in done.stderr


def test_a_window_needs_a_display(run):
    """Without one the remedy is named."""
    if sys.platform != "linux":
        pytest.skip("other systems always have a display")
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    done = slmk("eval", run, "--render", env={k: v for k, v in os.environ.items() if k not in hidden})
    assert done.returncode == 1
    assert "--video" in done.stderr


def test_a_backend_without_ids_has_a_baseline_too(tmp_path, capsys):
    """It is stored under the backend's name, and the manifest of a run has it."""
    spec = tmp_path / "toy.toml"
    spec.write_text(tomli_w.dumps(toy_spec()))
    assert main(["baseline", str(spec), "--episodes", "2"]) == 0
    assert capsys.readouterr().out.startswith("toy-probe: random return ")
    (stored,) = tomli.loads((tmp_path / "baselines.toml").read_text()).values()
    manifest = json.loads((trial.run(spec, out=tmp_path / "runs").directory / "manifest.json").read_text())
    assert manifest["random_return"] == stored["mean"]


def test_environment_variables_stand_for_flags(tmp_path):
    """SLMK_RUN_SEEDS, SLMK_RUN_OUT and SLMK_RUN_SET do what --seeds, --out and --set do."""
    variables = {"SLMK_RUN_SEEDS": "1", "SLMK_RUN_OUT": str(tmp_path), "SLMK_RUN_SET": " ".join(SMALL)}
    done = slmk("run", SPEC, env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    (manifest,) = tmp_path.glob("*/*/manifest.json")
    assert json.loads(manifest.read_text())["seeds"] == [0]
