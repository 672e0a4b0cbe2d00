"""What one of two processes does in `test_world.py`: train specs for some updates, and write how far apart they ended.

``torchrun … world_trainings.py FILE SPEC…``; the first process writes the file.
"""

import json
import sys
from pathlib import Path

import torch

import slmk
from slmk import world
from slmk.loop import iterate
from slmk.session import Session

UPDATES = 6
SMALL = ["run.compile='off'", "run.eval_episodes=0", "reporter=[]"]
WARM_UP = ["algorithm.learning_starts=100", "memory.capacity=2000"]


def distance(path: str) -> dict[str, float]:
    """After some updates of a spec: their number, and how far the processes differ in what they learned and saw."""
    spec = slmk.load(path, SMALL)
    learns_from_samples = hasattr(spec.algorithm.config, "learning_starts")
    run = Session(slmk.load(path, SMALL + WARM_UP) if learns_from_samples else spec, seed=0)
    for _ in iterate(run):
        if run.updates >= UPDATES:
            break
    learned = {**run.algorithm.learner.parameters, **run.algorithm.model.state_dict()}
    numbers = torch.cat([x.flatten().float() for x in learned.values()])
    seen = torch.cat([x.flatten().float() for x in run.obs.values()])
    run.close()
    return {"updates": run.updates, "learned": spread(numbers), "seen": spread(seen)}


def spread(x: torch.Tensor) -> float:
    """The largest difference between the processes in any element."""
    everyone = world.gathered(x.detach().unsqueeze(0))
    return float((everyone.amax(0) - everyone.amin(0)).max())


def main(file: Path, specs: list[str]) -> None:
    """Write the distances of all specs, by their paths."""
    torch.set_num_threads(1)
    world.join()
    found = {path: distance(path) for path in specs}
    if world.rank() == 0:
        file.write_text(json.dumps(found))
    world.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
