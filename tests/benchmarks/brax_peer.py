"""Train with Brax's own PPO on an environment of Playground, an iteration for each line on stdin, in `.venv-brax`.

    python brax_peer.py CheetahRun NUM_ENVS BATCH_SIZE EPOCHS

The configuration is Playground's official one, but for what is said here. After each iteration a line tells the most
memory that the process has taken, in bytes. Brax 0.14's training does not run on the jax of this repository.
"""

import resource
import sys

from brax.training.agents.ppo import train as ppo
from mujoco_playground import registry, wrapper
from mujoco_playground.config import dm_control_suite_params

ITERATIONS = 100
"""More than anybody asks for."""


def told(*_: object) -> None:
    """Say that an iteration is over, and wait until the next one is wanted."""
    print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
    if not sys.stdin.readline():
        raise SystemExit


def main(name: str, num_envs: int, batch_size: int, epochs: int) -> None:
    """Train until nobody asks for more."""
    config = dm_control_suite_params.brax_ppo_config(name)
    steps = batch_size * config.num_minibatches * config.unroll_length
    given = {"num_envs": num_envs, "batch_size": batch_size, "num_updates_per_batch": epochs}
    sys.stdin.readline()
    ppo.train(
        registry.load(name, config_overrides={"impl": "jax"}),
        **{**config.to_dict(), **given, "num_timesteps": ITERATIONS * steps, "num_evals": ITERATIONS + 1},
        run_evals=False,
        wrap_env_fn=wrapper.wrap_for_brax_training,
        progress_fn=told,
    )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
