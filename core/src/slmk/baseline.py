"""Measures the random policy, the zero of every strength, and stores it beside the specs (`slmk baseline`)."""

from __future__ import annotations

from pathlib import Path

from slmk.component import env_title

__all__ = ["measure"]


def measure(spec: Path, episodes: int) -> str:
    """Play `episodes` of uniformly random actions in the spec's environment and write the folder's ``baselines.toml``.

    Returns:
        One line that says what was measured.
    """
    from slmk.assembly import build_agent, build_env
    from slmk.evaluation import MAX_ENVS, play
    from slmk.metrics import write_baseline
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
