"""Train a spec, an iteration for each line on stdin: what `brax_peer.py` is to Brax.

python slmk_peer.py specs/playground/ppo_cheetahrun.toml OVERRIDE…
"""

import resource
import sys

import slmk
from slmk.job import process_of
from slmk.loop import iterate
from slmk.session import Session


def main(spec: str, *overrides: str) -> None:
    """Train until nobody asks for more; each line on stdout is the most memory that was taken so far, in bytes."""
    blueprint = slmk.load(spec, overrides)
    blueprint.env.config.prepare()
    with process_of(blueprint.run):
        iterations = iterate(Session(blueprint, seed=0))
        for _ in sys.stdin:
            next(iterations)
            print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
