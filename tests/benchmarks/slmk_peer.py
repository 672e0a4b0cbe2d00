"""Train a spec, an iteration for each line on stdin: what `brax_peer.py` is to Brax.

python slmk_peer.py specs/playground/ppo_cheetahrun.toml OVERRIDE…
"""

import resource
import sys

import slmk
from slmk.loop import iterate
from slmk.run import Run
from slmk.session import process_of


def main(spec: str, *overrides: str) -> None:
    """Train until nobody asks for more; each line on stdout is the most memory that was taken so far, in bytes."""
    blueprint = slmk.load(spec, overrides)
    blueprint.env.config.prepare()
    with process_of(blueprint.run):
        iterations = iterate(Run(blueprint, seed=0))
        for _ in sys.stdin:
            next(iterations)
            print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
