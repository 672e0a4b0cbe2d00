"""The random policy's return, the zero of every strength: measured (`slmk baseline`), kept beside specs, and found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slmk.component import env_title
from slmk.files import read_json, replacing
from slmk.run_directory import MANIFEST

__all__ = ["BASELINES", "measure", "random_return", "write_baseline"]

BASELINES = "baselines.toml"
"""The file in a folder of specs that holds the random policy's return in each environment."""


def measure(spec: Path, episodes: int) -> str:
    """Play `episodes` of uniformly random actions in the spec's environment and write the folder's ``baselines.toml``.

    Returns:
        One line that says what was measured.

    Raises:
        RunError: the file cannot be written.
    """
    from slmk.assembly import build_agent, build_env
    from slmk.evaluation import MAX_ENVS, play
    from slmk.spec import load
    from slmk.streams import Streams

    blueprint = load(spec, ["algorithm={ name = 'random' }", "network={}", "normalizer={}"])
    blueprint.env.config.prepare()
    streams = Streams(blueprint.run.seed)
    env = build_env(blueprint, num_envs=min(episodes, MAX_ENVS), seed=streams.integer("env"))
    try:
        agent = build_agent(blueprint, env.info, streams)
        played = play(env, agent.algorithm.policy, agent.recurrence, episodes, seed=streams.integer("env"))
    finally:
        env.close()
    row = played.as_row()
    mean, std = row["eval/return_mean"], row["eval/return_std"]
    section, count = blueprint.env.resolved(), len(played.returns)
    write_baseline(blueprint.directory, section, mean=mean, std=std, episodes=count, seed=blueprint.run.seed)
    return f"{env_title(section)}: random return {mean:.2f} ± {std:.2f} ({count} episodes)"


def random_return(directory: Path, env: Mapping[str, Any]) -> float | None:
    """The random policy's mean return, as stored in the folder of specs for the environment `env`, a spec's section.

    None, if there is none.
    The folder may be that of a run, whose ``resolved.toml`` is a spec too: then its manifest has the return.
    """
    import tomli

    try:
        baselines = tomli.loads((directory / BASELINES).read_text(encoding="utf-8"))
    except (OSError, tomli.TOMLDecodeError):
        baselines = {}
    mean = baselines.get(env_title(env), {}).get("mean", _random_return_of_run(directory, env))
    return None if mean is None else float(mean)


def _random_return_of_run(directory: Path, env: Mapping[str, Any]) -> float | None:
    """That of the run in this folder, if there is one, in this environment."""
    try:
        manifest = read_json(directory / MANIFEST)
        return manifest["random_return"] if env_title(manifest["env"]) == env_title(env) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_baseline(
    directory: Path, env: Mapping[str, Any], *, mean: float, std: float, episodes: int, seed: int
) -> None:
    """Store the random policy's return in the folder of specs for the environment `env`, beside what is there.

    Raises:
        RunError: the file cannot be written.
    """
    import tomli
    import tomli_w

    path = directory / BASELINES
    baselines = tomli.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    baselines[env_title(env)] = {"mean": round(mean, 4), "std": round(std, 4), "episodes": episodes, "seed": seed}
    head = "# Returns of the random policy, written by `slmk baseline SPEC...`.\n"
    with replacing(path) as temporary:
        temporary.write_text(head + tomli_w.dumps(dict(sorted(baselines.items()))), encoding="utf-8")
