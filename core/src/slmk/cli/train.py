"""Commands that train, score and look at runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slmk import world
from slmk.cli.options import sets

if TYPE_CHECKING:
    from slmk.trial import Result

__all__ = ["baseline", "eval_", "list_", "resume", "run"]

DEMO = Path(__file__).parent.parent / "demo.toml"
DEV = (
    "run.env_steps=10_000",
    "run.seeds=1",
    "run.compile='off'",
    "run.debug=true",
)
"""What ``--dev`` sets: a small run with every check on."""
DEV_EPISODES = 2
"""Episodes of each evaluation in it, where the spec has evaluations."""
DEV_WARM_UP = 1000
"""Environment steps of random actions in it, at most."""


@click.command()
@click.argument("spec", type=click.Path(dir_okay=False, path_type=Path), default=DEMO, required=False)
@sets("run")
@click.option("--seeds", type=click.IntRange(min=1), help="How many seeds to run.")
@click.option("--device", help="Where to compute, such as cpu or cuda.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="The directory of runs.",
)
@click.option("--dev", is_flag=True, help="A small run of one seed with every check on.")
@click.option("--render", is_flag=True, help="When done, show an episode of the best policy in a window.")
@click.option("--profile", is_flag=True, help="Write profile.txt beside each seed's metrics.")
def run(
    spec: Path,
    overrides: tuple[str, ...],
    seeds: int | None,
    device: str | None,
    out: Path,
    dev: bool,
    render: bool,
    profile: bool,
) -> None:
    """Train SPEC; without one, the demo: PPO learns CartPole."""
    from slmk import trial

    changes = (*(_small(spec, overrides) if dev else ()), *overrides)
    if seeds is not None:
        changes = (*changes, f"run.seeds={seeds}")
    if device is not None:
        changes = (*changes, f"run.device='{device}'")
    result = trial.run(spec, changes, out=out, profile=profile, join=world.announced(os.environ) > 1)
    _exit_if_interrupted(result)
    if render:
        _evaluate(result.directory, episodes=1, render=True)


def _small(spec: Path, overrides: tuple[str, ...]) -> tuple[str, ...]:
    """What ``--dev`` changes in a spec."""
    from slmk.config import OffPolicyConfig
    from slmk.spec import load

    whole = load(spec, (*overrides, f"run.env_steps={sys.maxsize}"))  # Long enough for any warm-up.
    changes, algorithm = list(DEV), whole.algorithm.config
    if whole.run.eval_episodes:
        changes.append(f"run.eval_episodes={DEV_EPISODES}")
    if isinstance(algorithm, OffPolicyConfig) and algorithm.learning_starts > DEV_WARM_UP:
        changes.append(f"algorithm.learning_starts={DEV_WARM_UP}")
    return tuple(changes)


@click.command()
@click.argument("directory", metavar="RUN", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--profile", is_flag=True, help="Write profile.txt beside each seed's metrics.")
def resume(directory: Path, profile: bool) -> None:
    """Go on with RUN from the newest checkpoint of each seed."""
    from slmk import trial

    _exit_if_interrupted(trial.resume(directory, profile=profile, join=world.announced(os.environ) > 1))


@click.command(name="eval")
@click.argument("directory", metavar="RUN", type=click.Path(exists=True, path_type=Path))
@click.option("--episodes", type=click.IntRange(min=1), default=10, show_default=True, help="How many.")
@click.option("--render", is_flag=True, help="Show the episodes in a window.")
@click.option("--video", type=click.Path(path_type=Path), help="Write the episodes to this file (.mp4 or .gif).")
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="DEMOS",
    help="Write the episodes to this folder as a Minari dataset, such as demos/hopper-v0.",
)
@click.option("--device", help="Where to compute, such as cpu or cuda; where it was trained by default.")
@sets("eval")
def eval_(
    directory: Path,
    episodes: int,
    render: bool,
    video: Path | None,
    record: Path | None,
    device: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Score the policy of RUN (a run, one of its seeds, or a checkpoint) on episodes of its own.

    Of a seed it is the checkpoint with the best evaluation, of a run that of the seed whose best evaluation is the
    highest; without evaluations the newest, of the first seed.
    """
    if device is not None:
        overrides = (*overrides, f"run.device='{device}'")
    _evaluate(directory, episodes, render=render, video=video, record=record, overrides=overrides)


@click.command(name="list")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="The directory of runs.",
)
def list_(out: Path) -> None:
    """List the runs under a directory, newest last."""
    from slmk.cli.present import show_table
    from slmk.listing import HEADER, rows

    found = rows(out)
    if found:
        show_table(HEADER, found, cut=False)  # The directory is what other commands are given.
    else:
        click.echo(f"no runs under {out}")


@click.command()
@click.argument("specs", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--episodes", type=click.IntRange(min=1), default=100, show_default=True, help="How many.")
def baseline(specs: tuple[Path, ...], episodes: int) -> None:
    """Measure the random policy in the environment of each SPEC, and store it in the spec's folder."""
    from slmk.baseline import measure

    for spec in specs:
        click.echo(measure(spec, episodes))


def _evaluate(directory: Path, episodes: int, **options: Any) -> None:
    from slmk.scoring import score

    click.echo(score(directory, episodes, **options))


def _exit_if_interrupted(result: Result) -> None:
    """130 after Ctrl-C, 143 after SIGTERM, as shells do."""
    if result.interrupted is not None:
        click.echo(f"interrupted; go on with: slmk resume {result.directory}", err=True)
        raise SystemExit(128 + result.interrupted)
